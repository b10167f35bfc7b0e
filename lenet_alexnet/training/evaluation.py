"""Exact evaluation: every example once, at any batch size."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from lenet_alexnet.data import Dataset
from lenet_alexnet.losses import Loss
from lenet_alexnet.runtime import heartbeat
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.observed import entries
from lenet_alexnet.training.scoring import Scores, Tally, make_evaluate
from lenet_alexnet.training.state import Metrics, Noted

OF_CLASSES = ("balanced_accuracy", "by_class")  # entries of summaries, not of log lines
CHUNK = 2000  # examples read from disk that are on the device at a time


class Evaluator:
    """Evaluates a network's variables on one split.

    Arrays stay on the device; streamed photos are read from disk each time.
    """

    @heartbeat.during("compilation")
    def __init__(
        self,
        scores: Scores,
        loss: Loss,
        data: Dataset,
        batch_size: int,
        variables: Any,
        layout: Layout,
    ) -> None:
        self._layout, self._data = layout, data
        self._chunk = min(CHUNK, len(data)) if data.arrays is None else len(data)
        self._chunks = []
        if data.arrays is not None:
            self._chunks = [layout.put((*data.arrays, np.int32(len(data))))]
        classes = len(data.class_names)
        self._zero = jax.device_get(jax.jit(Tally.zero, static_argnums=0)(classes))
        batch_size = -(-min(batch_size, self._chunk) // layout.shards) * layout.shards
        evaluate = jax.jit(make_evaluate(scores, loss, batch_size), out_shardings=layout.replicated)
        first = self._chunks[0] if self._chunks else self._read(0)
        self._evaluate = evaluate.lower(layout.put(self._zero), variables, *first).compile()

    @heartbeat.during("evaluation")
    def __call__(self, variables: Any) -> dict[str, Any]:
        """The result, see `results`."""
        sums = self._layout.put(self._zero)
        for chunk in self._chunks or self._read_all():
            sums = self._evaluate(sums, variables, *chunk)
            heartbeat.beat()
        return results(jax.device_get(sums), self._data.class_names)

    def _read(self, start: int) -> Any:
        index = np.arange(start, min(start + self._chunk, len(self._data)), dtype=np.int32)
        padded = np.pad(index, (0, self._chunk - len(index)), mode="edge")
        return self._layout.put((*self._data.read(padded), np.int32(len(index))))

    def _read_all(self) -> Iterator[Any]:
        """Yields chunk by chunk, while the next one is read."""
        starts = range(0, len(self._data), self._chunk)
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self._read, 0)
            for start in starts:
                chunk = coming.result()
                if start + self._chunk < len(self._data):
                    coming = pool.submit(self._read, start + self._chunk)
                yield chunk


def results(sums: Tally, class_names: Sequence[str]) -> dict[str, Any]:
    """What an evaluation found (on the host): means over the examples and over the classes.

    Besides the entries of `summarize` it has those of `OF_CLASSES`: `balanced_accuracy`, the mean
    of the classes' accuracies (of those with examples), and `by_class`, in the order of the
    classes, their errors and examples.
    """
    each: list[dict[str, Any]] = [
        {"class": name, "errors": int(errors), "examples": int(examples)}
        for name, errors, examples in zip(
            class_names, sums.class_errors, sums.class_examples, strict=True
        )
    ]
    accuracies = [1 - one["errors"] / one["examples"] for one in each if one["examples"]]
    balanced = sum(accuracies) / len(accuracies)
    return summarize(sums.metrics) | {"balanced_accuracy": balanced, "by_class": each}


def summarize(sums: Metrics) -> dict[str, Any]:
    """Means of the sums (on the host): the numbers that are logged."""
    count = int(sums.examples)
    return {
        "loss": float(sums.loss) / count,
        "top1_error": int(sums.errors) / count,
        "top5_error": int(sums.top5_errors) / count,
        "examples": count,
    }


def summarize_steps(sums: Noted) -> dict[str, Any]:
    """As `summarize`, with what was noted of each layer."""
    return summarize(sums) | entries(sums.layers)
