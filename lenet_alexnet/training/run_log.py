"""What a run reports in its folder: metrics.jsonl, step_sizes.jsonl and the summary."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenet_alexnet import config as configs
from lenet_alexnet.config.options import setting
from lenet_alexnet.optimizers.sdlm import step_report, step_sizes
from lenet_alexnet.runs.directory import RunDirectory
from lenet_alexnet.runs.metrics import MetricsLog
from lenet_alexnet.runs.wall_time import STEPS
from lenet_alexnet.runtime.console import first_process
from lenet_alexnet.sinks.feed import Sinks
from lenet_alexnet.sinks.sink import About, OfSweep
from lenet_alexnet.training.evaluation import OF_CLASSES
from lenet_alexnet.training.experiment import SELECTS, Experiment
from lenet_alexnet.training.progress import Stopwatch


class RunLog:
    """The log of one run, and its last result on each split.

    Args:
      config, experiment: of the run.
      out: its folder.
      metrics: its metrics.jsonl.
    """

    def __init__(
        self, config: Any, experiment: Experiment, out: RunDirectory, metrics: MetricsLog
    ) -> None:
        self._config, self._experiment, self._out, self._metrics = config, experiment, out, metrics
        self.results: dict[str, dict[str, Any]] = {}

    def write(
        self,
        step: int,
        split: str,
        result: dict[str, Any],
        *,
        images_per_second: float | None = None,
        share: float = 1.0,
    ) -> dict[str, Any]:
        """Writes and returns one line of metrics.jsonl; `share` is the rate's remaining share."""
        e = self._experiment
        if split != "train":
            self.results[split] = result
        row = {
            "step": step,
            "epoch": round(step / e.steps_per_epoch, 4),
            "split": split,
            **{key: value for key, value in result.items() if key not in OF_CLASSES},
            "images_per_second": images_per_second,
            "learning_rate": share * e.rate(step),
            "time": time.time(),
        }
        self._out.check()
        self._metrics.write(row)
        return row

    def write_step_sizes(self, step: int, curvature: Any, *, share: float = 1.0) -> None:
        """Writes the range of each layer's step sizes (SDLM) as a line of step_sizes.jsonl."""
        e = self._experiment
        numbers = e.optimizer.curvature
        assert numbers is not None
        sizes = step_sizes(curvature, share * e.rate(step), numbers.mu, numbers.energy)
        with MetricsLog(self._out.folder / "step_sizes.jsonl", writes=first_process()) as log:
            log.write({"step": step, "split": "step sizes", **step_report(sizes)})

    def error(self, split: str = SELECTS) -> float | None:
        """The last top-1 error on a split; None if there was none."""
        result = self.results.get(split)
        return result["top1_error"] if result else None

    def summary(
        self, status: str, step: int, best: int | None, costs: dict[str, Any]
    ) -> dict[str, Any]:
        """The content of summary.json; `best`: the best checkpoint's step; `costs`: see `costs`."""
        return {
            "status": status,
            "step": step,
            "epoch": round(step / self._experiment.steps_per_epoch, 4),
            "seed": self._config.seed,
            "config_hash": configs.config_hash(self._config),
            "eval": self.results if status == "completed" else {},
            "best": self._metrics.result(best, SELECTS),
            **costs,
        }


def costs(
    params: int, images: int, clock: Stopwatch, compile_seconds: float, times: Mapping[str, Any]
) -> dict[str, Any]:
    """A summary's entries on size and time.

    Args:
      images: trained on in the seconds of `clock`: of this start of the run, as `compile_seconds`.
      times: of all starts, see `WallTime.so_far`.
    """
    seconds, whole = clock.seconds, times.get("wall_time")
    return {
        "params": params,
        "train_seconds": round(whole[STEPS] + whole["data_wait"] if whole else seconds, 3),
        "compile_seconds": round(compile_seconds, 3),
        "images_per_second": round(images / seconds, 1) if seconds else None,
        **times,
    }


def create_sinks(config: Any, folder: Path, sweep: OfSweep | None = None) -> Sinks:
    """What `log.to` names, for the run in a folder: a follower of its metrics.jsonl."""
    names = setting(config, "log.to") if first_process() else ()
    return Sinks(names, About(folder=folder, config=configs.flatten(config), sweep=sweep))
