"""Exact evaluation: every example once, whatever the batch size."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lenet_alexnet.data import Dataset
from lenet_alexnet.errors import UsageError
from lenet_alexnet.losses import Loss
from lenet_alexnet.training import step as steps
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.state import Metrics

CHUNK = 2000  # examples read from disk that are on the device at a time


class Evaluator:
    """One split and the program that evaluates a network's variables on it.

    Arrays stay on the device; prepared photos are read from disk anew each time.
    """

    def __init__(
        self, scores: steps.Scores, loss: Loss, data: Dataset, batch_size: int,
        variables: Any, layout: Layout,
    ) -> None:  # fmt: skip
        self._layout, self._data = layout, data
        self._chunk = min(CHUNK, len(data)) if data.arrays is None else len(data)
        self._chunks = []
        if data.arrays is not None:
            self._chunks = [layout.put((*data.arrays, np.int32(len(data))))]
        self._zero = jax.device_get(jax.jit(Metrics.zero)())
        batch_size = -(-min(batch_size, self._chunk) // layout.shards) * layout.shards
        evaluate = jax.jit(
            steps.make_evaluate(scores, loss, batch_size), out_shardings=layout.replicated
        )
        first = self._chunks[0] if self._chunks else self._read(0)
        self._evaluate = evaluate.lower(layout.put(self._zero), variables, *first).compile()

    def __call__(self, variables: Any) -> dict[str, Any]:
        """Loss per example, errors as fractions, and the number of examples."""
        metrics = self._layout.put(self._zero)
        for chunk in self._chunks or self._read_all():
            metrics = self._evaluate(metrics, variables, *chunk)
        return summarize(jax.device_get(metrics))

    def _read(self, start: int) -> Any:
        index = np.arange(start, min(start + self._chunk, len(self._data)), dtype=np.int32)
        padded = np.pad(index, (0, self._chunk - len(index)), mode="edge")
        return self._layout.put((*self._data.read(padded), np.int32(len(index))))

    def _read_all(self) -> Iterator[Any]:
        """Chunk by chunk, the next one being read meanwhile."""
        starts = range(0, len(self._data), self._chunk)
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self._read, 0)
            for start in starts:
                chunk = coming.result()
                if start + self._chunk < len(self._data):
                    coming = pool.submit(self._read, start + self._chunk)
                yield chunk


def summarize(sums: Metrics) -> dict[str, Any]:
    """Sums on the host as means: the numbers that are written and shown."""
    count = int(sums.examples)
    return {
        "loss": float(sums.loss) / count,
        "top1_error": int(sums.errors) / count,
        "top5_error": int(sums.top5_errors) / count,
        "examples": count,
    }


def evaluate_workdirs(
    workdirs: Sequence[Path], *, split: str = "", checkpoint: str = "auto",
    data_dir: str = "", views: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Evaluates a run's checkpoint on a split of its data, or the mean of several runs' softmaxes.

    Args:
      workdirs: runs' folders; the first one's data are used.
      split: train, validation or test; "" is test, or validation if there is no test split.
      checkpoint: best | last | auto: the best if chosen on a validation split, else the last.
      data_dir: where the data is now, if not where it was.
      views: 1: the centre; 10: corners, centre, and their reflections; 0: as the config says.
    """
    from lenet_alexnet.inference import open_run
    from lenet_alexnet.training.experiment import build_losses, build_views

    runs = [open_run.open_run(workdir, checkpoint, data_dir) for workdir in workdirs]
    first = runs[0]
    for run, workdir in zip(runs, workdirs, strict=True):
        if run.class_names != first.class_names:
            raise UsageError(f"'{workdir}' and '{workdirs[0]}' were trained on other classes")
    layout = Layout()
    each = [
        steps.make_scores(
            run.model,
            run.preprocess,
            build_views(run.config, views, run.statistics),
            layout.forward,
        )
        for run in runs
    ]
    scores, variables = each[0], first.variables
    if len(runs) > 1:
        scores, variables = steps.mean_scores(each), [run.variables for run in runs]
    variables = layout.put(variables)
    split = split or ("test" if first.config.data.test else "validation")
    data = open_run.load_named(first, split)
    loss = build_losses(first.config)[1]
    evaluator = Evaluator(scores, loss, data, first.config.eval.batch_size, variables, layout)
    place = {"step": first.step} if len(runs) == 1 else {"steps": [run.step for run in runs]}
    return {"split": split, **place, "checkpoint": first.chosen, **evaluator(variables)}
