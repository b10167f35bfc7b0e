"""A network's answer to a drawn digit, with the outputs of its layers as pictures."""

import base64
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from lenet_alexnet.errors import DataError, UsageError, nearest
from lenet_alexnet.inference import glyph, layers
from lenet_alexnet.inference.open_run import TrainedRun
from lenet_alexnet.inference.read_images import reads_digits
from lenet_alexnet.info import network
from lenet_alexnet.models.lenet_1998.network import LeNet5_1998
from lenet_alexnet.models.lenet_1998.tables import digit_codes

CODE = 12, 7  # rows and columns of the bitmaps of Fig. 3


class Reader:
    """A trained network that reads digits, compiled for one image."""

    def __init__(self, name: str, run: TrainedRun) -> None:
        """Compiles the network; UsageError if it was not trained on digits in MNIST's form."""
        if not reads_digits(run):
            raise UsageError(f"'{name}' does not read digits: the demo needs a network that does")
        self._name, self._run = name, run
        self._model = run.model.clone(dtype=jnp.float32)  # as in evaluation
        described = network.describe(self._model, self._model.input_shape)["layers"]
        self._shown = [layer["name"] for layer in described[:-1]]
        self._variables = jax.device_put(run.variables)
        self._program = jax.jit(self._compute)
        self._apply(np.zeros((glyph.SIDE, glyph.SIDE), np.uint8))

    def __call__(self, ink: UInt8[np.ndarray, "h w"]) -> dict[str, Any]:
        """The answer to a drawing, as JSON has it; pictures are described in `picture`.

        Args:
          ink: 255 where there is ink, 0 elsewhere; any size.

        Returns:
          answer: the class; probabilities: of each class; doubts: reasons why it may be no digit;
          input: the 28x28 pixels that the network sees; layers: a picture of each layer below the
          output; codes: for LeNet-5 of 1998, F6, the answer's code, and the penalty of each class.

        Raises:
          DataError: the network's outputs are not finite.
        """
        found = glyph.from_ink(ink)
        scores, outputs = self._apply(found.pixels)
        if not np.isfinite(scores).all():
            raise DataError("the network's outputs are not all finite")
        answer = int(scores.argmax())
        shown: dict[str, Any] = {
            "network": self._name,
            "answer": answer,
            "probabilities": np.asarray(jax.nn.softmax(scores)).round(6).tolist(),
            "doubts": found.doubts,
            "input": {"name": "input", **picture(found.pixels[None], 0, 255)},
            "layers": [{"name": name, **picture(outputs[name])} for name in self._shown],
        }
        if isinstance(self._model, LeNet5_1998):
            shown["codes"] = codes(outputs["F6"].reshape(-1), answer, -scores)
        return shown

    def _compute(self, variables: Any, images: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        inputs = self._run.preprocess(images, None)
        outputs = layers.outputs(self._model, variables, inputs, self._shown)
        scores = self._model.apply(variables, inputs)
        return scores[0], {name: _maps(output[0]) for name, output in outputs.items()}

    def _apply(self, pixels: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return jax.device_get(self._program(self._variables, jnp.asarray(pixels)[None, :, :, None]))


def _maps(output: jax.Array) -> jax.Array:
    """A layer's output as [maps, h, w]; units are one map of one row."""
    units = output.size == max(output.shape)
    return output.reshape(1, 1, -1) if units else jnp.moveaxis(output, -1, 0)


class Readers:
    """The networks of the page by name; each is opened when it is first used."""

    def __init__(self, networks: Mapping[str, Callable[[], TrainedRun]]) -> None:
        """`networks`: the function that opens each one."""
        self._networks = networks
        self._open: dict[str, Reader] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """The networks, in the order of the page."""
        return list(self._networks)

    def __getitem__(self, name: str) -> Reader:
        if name not in self._networks:
            raise UsageError(f"unknown network '{name}': {nearest(name, self._networks)}")
        with self._lock:
            if name not in self._open:
                self._open[name] = Reader(name, self._networks[name]())
        return self._open[name]


def picture(
    maps: Float[np.ndarray, "n h w"] | UInt8[np.ndarray, "n h w"],
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    """Maps as grey levels: 0 is `low` and 255 is `high`, by default the extreme values.

    Returns:
      maps, height, width: the shape; low, high; pixels: n*h*w bytes in base64.
    """
    low = float(maps.min()) if low is None else low
    high = float(maps.max()) if high is None else high
    shares = (maps.astype(np.float32) - low) / ((high - low) or 1)
    levels = np.rint(255 * shares).clip(0, 255).astype(np.uint8)
    count, height, width = maps.shape
    return {
        "maps": count,
        "height": height,
        "width": width,
        "low": low,
        "high": high,
        "pixels": base64.b64encode(levels.tobytes()).decode(),
    }


def codes(
    states: Float[np.ndarray, " 84"], answer: int, penalties: Float[np.ndarray, " 10"]
) -> dict[str, Any]:
    """F6 and the code of the answer as bitmaps with the same grey levels; all penalties (eq. 7)."""
    most = max(1.0, float(np.abs(states).max()))
    both = np.stack([states, digit_codes()[answer]]).reshape(2, *CODE)
    return {
        "states": picture(both[:1], -most, most),
        "code": picture(both[1:], -most, most),
        "penalties": penalties.round(3).tolist(),
    }
