"""`load`: a trained network as a function of images, in plain JAX."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from lenet_alexnet.errors import UsageError
from lenet_alexnet.inference import bundled, layers
from lenet_alexnet.inference.model_file import open_trained
from lenet_alexnet.inference.open_run import TrainedRun, open_run
from lenet_alexnet.inference.read_images import prepare


def trained_networks() -> list[str]:
    """The names of the trained networks that come with the package."""
    return bundled.names()


def load(
    name_or_path: str | Path, *, checkpoint: str = "auto", model: nn.Module | None = None
) -> "Network":
    """A trained network, ready for images.

    Args:
      name_or_path: the name of a network of the package (see `trained_networks`), a .safetensors
        file of ours, or a run's folder.
      checkpoint: of a run: best | last | auto, best if a validation split chose one.
      model: of a run that was given its network as an object: an equal object.

    Raises:
      UsageError: no such name, file or run. DataError: it is damaged.
    """
    path = Path(name_or_path)
    if path.is_dir() and name_or_path not in bundled.names():
        run = open_run(path, checkpoint, model=model)
    elif model is not None:
        raise UsageError(f"'{name_or_path}' is no run's folder, and only a run can need a model")
    else:
        run = open_trained(bundled.find(str(name_or_path)), checkpoint)
    return Network(
        model=_plain(run),
        variables=run.variables,
        class_names=run.class_names,
        card=run.card,
        run=run,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A trained network; calling it, and `features`, are plain JAX.

    jit, vmap, grad, jvp, hessian and jax.export work, with respect to images and to `variables`.

    Attributes:
      model: the linen module; `model.apply(variables, inputs)` are its outputs.
      variables: its parameters and, if it has them, averages of batch normalisation.
      class_names: of the outputs, in order.
      card: where it comes from, and its errors (see `lenet-alexnet models show`); {} for a run.
    """

    model: nn.Module
    variables: Any
    class_names: tuple[str, ...]
    card: Mapping[str, Any]
    run: TrainedRun = field(repr=False)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that it takes."""
        data = self.run.config.data
        return data.image_size, data.image_size, data.channels

    def read(self, files: Iterable[str | Path]) -> UInt8[np.ndarray, "n h w c"]:
        """Image files in the form of the images that it was trained on, as `predict` reads them.

        Raises:
          DataError: no such file, or no image that can be read.
        """
        images = [prepare(str(file), self.run)[0] for file in files]
        return np.stack(images) if images else np.zeros((0, *self.image_shape), np.uint8)

    def preprocess(self, images: Any) -> Float[Array, "n h2 w2 c"]:
        """Images [n, h, w, c], 0..255, as the inputs of the network, in evaluation.

        Raises:
          UsageError: images of another shape.
        """
        images = jnp.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.image_shape:
            wanted = ", ".join(map(str, self.image_shape))
            raise UsageError(f"images are {list(images.shape)}, the network takes [n, {wanted}]")
        return self.run.preprocess(images, None)

    def __call__(self, images: Any) -> Float[Array, "n k"]:
        """Logits of images [n, h, w, c], 0..255; UsageError for images of another shape."""
        logits: Array = self.model.apply(self.variables, self.preprocess(images))  # type: ignore
        return logits

    def features(self, images: Any, names: Sequence[str] = ()) -> dict[str, Array]:
        """The outputs of layers for images [n, h, w, c], 0..255.

        Args:
          images: as for a call.
          names: of layers: the papers' or, for AlexNet's variant owt, torchvision's; (): all.

        Returns [n, h, w, c] or [n, units] by name; a layer is taken after its activation, except
        those that torchvision has before it (features.0, classifier.1 ...).

        Raises:
          UsageError: an unknown layer, or images of another shape.
        """
        layers.check(self.model, names)
        return layers.outputs(self.model, self.variables, self.preprocess(images), names)


def _plain(run: TrainedRun) -> nn.Module:
    """The network in float32 and, unless its config names a form, in plain operations."""
    fields = type(run.model).__dataclass_fields__
    options: dict[str, Any] = {"dtype": jnp.float32, "conv_form": "plain"}
    chosen = {"conv_form"} if "conv_form" in run.config.model else set()
    return run.model.clone(**{k: v for k, v in options.items() if k in fields.keys() - chosen})
