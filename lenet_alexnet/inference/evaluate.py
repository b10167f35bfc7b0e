"""Evaluates one or several trained networks on a split of their data."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lenet_alexnet.errors import UsageError
from lenet_alexnet.inference.model_file import open_trained
from lenet_alexnet.inference.open_run import load_named
from lenet_alexnet.training.builders import build_losses, build_views
from lenet_alexnet.training.evaluation import Evaluator
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.matmul_precision import matmul_precision
from lenet_alexnet.training.scoring import make_scores, mean_scores
from lenet_alexnet.training.sharded_forward import sharded_forward


def evaluate_workdirs(
    workdirs: Sequence[Path],
    *,
    split: str = "",
    checkpoint: str = "auto",
    data_dir: str = "",
    views: int = 0,
) -> dict[str, Any]:
    """Evaluates a run's checkpoint on a split of its data, or the mean of several runs' softmaxes.

    Args:
      workdirs: runs' folders or files of ours; the first one's data are used.
      split: train, validation or test; "" is test, or validation if there is no test split.
      checkpoint: best | last | auto: best if there is a validation split, else last.
      data_dir: where the data is now, if it was moved.
      views: 1: the centre; 10: corners, centre and their reflections; 0: the config's.
    """
    runs = [open_trained(workdir, checkpoint, data_dir) for workdir in workdirs]
    first = runs[0]
    for run, workdir in zip(runs, workdirs, strict=True):
        if run.class_names != first.class_names:
            raise UsageError(f"'{workdir}' and '{workdirs[0]}' were trained on different classes")
    layout = Layout()
    each = [
        make_scores(
            run.model,
            run.preprocess,
            build_views(run.config, views, run.statistics),
            partial(sharded_forward, layout),
        )
        for run in runs
    ]
    scores, variables = each[0], first.variables
    if len(runs) > 1:
        scores, variables = mean_scores(each), [run.variables for run in runs]
    variables = layout.put(variables)
    split = split or ("test" if first.config.data.test else "validation")
    data = load_named(first, split)
    loss = build_losses(first.config)[1]
    with matmul_precision(first.config):
        evaluator = Evaluator(scores, loss, data, first.config.eval.batch_size, variables, layout)
    place = {"step": first.step} if len(runs) == 1 else {"steps": [run.step for run in runs]}
    return {"split": split, **place, "checkpoint": first.chosen, **evaluator(variables)}
