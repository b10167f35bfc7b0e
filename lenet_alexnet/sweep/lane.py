"""One of the runs that train side by side: its files, and what it has apart from the others."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from lenet_alexnet.runs import lock
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.directory import RunDirectory
from lenet_alexnet.runs.metrics import MetricsLog
from lenet_alexnet.sinks.sink import OfSweep
from lenet_alexnet.sweep.trials import END
from lenet_alexnet.training import fingerprint
from lenet_alexnet.training.builders import build_optimizer
from lenet_alexnet.training.experiment import Experiment
from lenet_alexnet.training.run_log import RunLog, create_sinks


class Lane:
    """One run's directory, log, checkpoints, order and schedule."""

    def __init__(
        self,
        config: Any,
        folder: Path,
        experiment: Experiment,
        data: Any,
        stack: contextlib.ExitStack,
        allow_other_bits: bool,
        weights: dict[str, Any],
        sweep: OfSweep | None = None,
    ) -> None:
        self.config = config
        held = stack.enter_context(lock.hold(folder))
        self.out = RunDirectory(folder, config, held=held)
        self.begun = self.out.begun()
        facts = fingerprint.facts(data, self.begun) | weights
        fingerprint.check(folder, self.begun, facts, allow=allow_other_bits)
        self.out.begin(experiment.train_data.class_names, experiment.statistics, facts)
        self.sinks = stack.enter_context(create_sinks(config, folder, sweep))
        metrics = stack.enter_context(MetricsLog(folder / "metrics.jsonl", followers=[self.sinks]))
        # A kill may come between the saves of two lanes: the previous step must still exist.
        keep = max(config.checkpoint.keep, 2)
        self.checkpoints = stack.enter_context(
            Checkpoints(folder / "checkpoints", keep, check=self.out.check)
        )
        self.e = dataclasses.replace(
            experiment,
            optimizer=build_optimizer(config, len(experiment.train_data)),
            order=experiment.order.with_seed(config.seed),
        )
        self.log = RunLog(config, self.e, self.out, metrics)
        self.class_names = experiment.train_data.class_names
        self.bad_step: int | None = None

    def stopped(self) -> bool:
        """Whether this run was stopped alone; the program continues for the others."""
        return (self.out.folder / END).exists()

    def is_kept(self) -> bool:
        """Whether what the program computes for this run is still logged and saved."""
        return self.bad_step is None and not self.stopped()

    def finish(self, status: str, step: int, costs: dict[str, Any]) -> dict[str, Any]:
        """Writes and returns the summary."""
        status = "interrupted" if self.stopped() else status
        summary = self.log.summary(status, step, self.checkpoints.best(), costs)
        if self.bad_step is not None:
            summary |= {"status": "diverged", "step": self.bad_step, "eval": {}}
        self.out.write_summary(summary)
        self.sinks.end(summary["status"])
        return summary
