"""The subject of a report: a trained network, a split of its data, and its answers."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from lenet_alexnet.data import Dataset
from lenet_alexnet.errors import DataError
from lenet_alexnet.inference import layers, open_run
from lenet_alexnet.info import network
from lenet_alexnet.runtime import console
from lenet_alexnet.training.scoring import make_scores
from lenet_alexnet.training.state import rank

SAY_EVERY = 10.0  # seconds


class Answers(NamedTuple):
    """A network's answers to n examples of k classes; errors are counted as in `eval`."""

    scores: Float[np.ndarray, "n k"]
    labels: Int[np.ndarray, " n"]
    answers: Int[np.ndarray, " n"]
    probabilities: Float[np.ndarray, "n k"]

    @property
    def wrong(self) -> Bool[np.ndarray, " n"]:
        """Which answers are errors."""
        return self.answers != self.labels

    @property
    def doubt(self) -> Float[np.ndarray, " n"]:
        """1 minus the difference of the two highest probabilities.

        Computed as a sum of the small probabilities: subtracted from 1, they would be rounded away.
        With the penalties of 1998, most answers would then look equally sure.
        """
        ordered = np.sort(self.probabilities, axis=1)
        return ordered[:, :-1].sum(1) + ordered[:, -2:-1].sum(1)


def judge(scores: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]) -> Answers:
    """The answers by scores: logits, or minus the penalties of 1998.

    Raises:
      DataError: scores are not finite.
    """
    if not np.isfinite(scores).all():
        raise DataError("the network's outputs are not all finite")
    # As in eval: a tie is a wrong answer.
    others = scores.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    answers = np.where(
        np.asarray(rank(jnp.asarray(scores), jnp.asarray(labels))) == 0, labels, others.argmax(1)
    )
    # In double precision, so that doubts near 0 still differ.
    powers = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    return Answers(scores, labels, answers, powers / powers.sum(1, keepdims=True))


class Subject:
    """A run opened at a checkpoint, and its answers to every example of a split.

    Attributes:
      run: the network, its parameters, its config.
      split: which split.
      layers: the names of the network's layers, in order.
    """

    def __init__(
        self, workdir: Path, *, split: str = "", checkpoint: str = "auto", data_dir: str = ""
    ) -> None:
        """Opens the run; the split ("": test, or validation if there is none) is read when needed.

        Raises:
          UsageError, DataError: no run, checkpoint or split.
        """
        self.workdir, self.run = workdir, open_run.open_run(workdir, checkpoint, data_dir)
        config = self.run.config
        self.split = split or ("test" if config.data.test else "validation")
        open_run.check_split(config, self.split)
        described = network.describe(self.run.model, self.run.model.input_shape)["layers"]
        self.layers = [layer["name"] for layer in described]
        self._trained = {layer["name"] for layer in described if layer["params"]}

    @functools.cached_property
    def data(self) -> Dataset:
        """The examples of the split; UsageError or DataError if they are not available."""
        return self.load(self.split)

    @property
    def answers(self) -> Answers:
        """The network's answers to all examples of the split."""
        return self._evaluated[0]

    @property
    def result(self) -> dict[str, Any]:
        """The same numbers as from `eval`."""
        return self._evaluated[1]

    def load(self, split: str) -> Dataset:
        """A split of the run's data."""
        return open_run.load_named(self.run, split)

    @property
    def hidden(self) -> str | None:
        """The last layer with parameters below the output: F6, fc7."""
        below = [name for name in self.layers[:-1] if name in self._trained]
        return below[-1] if below else None

    @property
    def classes(self) -> tuple[str, ...]:
        """A name for each output of the network; there may be more outputs than classes."""
        return self.run.output_names

    def features(
        self,
        data: Dataset,
        index: np.ndarray | Sequence[int],
        names: Sequence[str],
        what: str,
    ) -> dict[str, np.ndarray]:
        """The outputs [n, h, w, c] or [n, c] of the named layers for the numbered examples."""
        run = self.run

        def outputs(variables: Any, images: Any) -> dict[str, Any]:
            found = layers.outputs(run.model, variables, run.preprocess(images, None), names)
            return {name: value.astype(jnp.float32) for name, value in found.items()}

        return self._over(outputs, data, np.asarray(index), what)[0]

    @functools.cached_property
    def _evaluated(self) -> tuple[Answers, dict[str, Any]]:
        from lenet_alexnet.training.builders import build_losses, build_views

        run = self.run
        views = build_views(run.config, statistics=run.statistics)
        scores = make_scores(run.model, run.preprocess, views)
        what = f"answers to {len(self.data):,} {self.split} images"
        found, labels = self._over(scores, self.data, np.arange(len(self.data)), what)
        answers = judge(found, labels)
        loss = np.asarray(jax.jit(build_losses(run.config)[1])(found, labels), np.float64)
        result = {
            "split": self.split,
            "step": run.step,
            "checkpoint": run.chosen,
            "loss": float(loss.mean()),
            "top1_error": int(answers.wrong.sum()) / len(labels),
            "top5_error": int((rank(jnp.asarray(found), jnp.asarray(labels)) >= 5).sum())
            / len(labels),
            "examples": len(labels),
        }
        return answers, result

    def _over(
        self,
        function: Callable[[Any, Any], Any],
        data: Dataset,
        index: np.ndarray,
        what: str,
    ) -> tuple[Any, Int[np.ndarray, " n"]]:
        """function(variables, images) of the numbered examples, in batches; and their labels."""
        size = min(self.run.config.eval.batch_size, len(index))
        program = jax.jit(function)
        variables = jax.device_put(self.run.variables)
        parts, labels, said = [], [], time.monotonic()
        console.say(f"{what} ...")
        for start in range(0, len(index), size):
            part = index[start : start + size]
            # The last batch repeats an example, so that one program fits all.
            images, classes = data.read(np.pad(part, (0, size - len(part)), mode="edge"))
            outputs = jax.device_get(program(variables, images))
            parts.append(jax.tree.map(functools.partial(_head, count=len(part)), outputs))
            labels.append(classes[: len(part)])
            if time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                console.say(f"  {start + len(part):,} of {len(index):,}")
        return jax.tree.map(lambda *p: np.concatenate(p), *parts), np.concatenate(labels)


def _head(x: np.ndarray, count: int) -> np.ndarray:
    return x[:count]


def first_of_each_class(labels: Int[np.ndarray, " n"], count: int) -> list[int]:
    """The indices of the first examples of `count` different classes, in order."""
    _, first = np.unique(labels, return_index=True)
    return sorted(int(i) for i in first)[:count]
