"""Exact evaluation: every example once, whatever the batch size."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax

from lenet_alexnet import step as steps
from lenet_alexnet.data import Split
from lenet_alexnet.data.augment import Preprocess
from lenet_alexnet.losses import Loss


class Evaluator:
    """One split, resident on the device, and the program that evaluates parameters on it."""

    def __init__(
        self, model: nn.Module, preprocess: Preprocess, loss: Loss, data: Split, batch_size: int,
        params: Any,
    ) -> None:  # fmt: skip
        self._data = jax.device_put((data.images, data.labels))
        program = jax.jit(steps.make_evaluate(model, loss, preprocess, min(batch_size, len(data))))
        self._evaluate = program.lower(params, *self._data).compile()

    def __call__(self, params: Any) -> dict[str, Any]:
        """Loss per example, errors as fractions, and the number of examples."""
        return summarize(jax.device_get(self._evaluate(params, *self._data)))


def summarize(sums: steps.Metrics) -> dict[str, Any]:
    """Sums on the host as means: the numbers that are written and shown."""
    count = int(sums.examples)
    return {
        "loss": float(sums.loss) / count,
        "top1_error": int(sums.errors) / count,
        "top5_error": int(sums.top5_errors) / count,
        "examples": count,
    }


def evaluate_workdir(
    workdir: Path, *, split: str = "test", checkpoint: str = "auto", data_dir: str = ""
) -> dict[str, Any]:
    """Evaluates a run's checkpoint on a split of its data.

    Args:
      workdir: a run's folder.
      split: train, validation or test.
      checkpoint: best | last | auto: the best if chosen on a validation split, else the last.
      data_dir: where the data is now, if not where it was.
    """
    from lenet_alexnet import restore
    from lenet_alexnet.experiment import build_losses

    run = restore.open_run(workdir, checkpoint)
    data = restore.load_named(run.config, split, data_dir)
    evaluator = Evaluator(
        run.model,
        run.preprocess,
        build_losses(run.config)[1],
        data,
        run.config.eval.batch_size,
        run.params,
    )
    return {"split": split, "step": run.step, "checkpoint": run.chosen, **evaluator(run.params)}
