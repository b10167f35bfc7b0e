"""After divergence: back to a good checkpoint, and from there with a smaller learning rate."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from lenet_alexnet.errors import Diverged
from lenet_alexnet.optimizers.plateau import WithPlateau
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.metrics import MetricsLog
from lenet_alexnet.runtime.console import first_process, say
from lenet_alexnet.training.experiment import Experiment
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.state import TrainState

MOST = 3  # Then the rate is not what is wrong.
SPLIT = "back off"


class BackOff:
    """How often a run went back, and the share of the learning rate that is left.

    back_off.jsonl has a line each time, with the step that it went back to: a state restored from
    there or later has lost that much of its rate. So a run that is killed or stopped in between
    resumes as if it had not been.
    """

    def __init__(self, factor: float, folder: Path) -> None:
        self._factor, self._path = factor, folder / "back_off.jsonl"
        self.count = 0

    @property
    def possible(self) -> bool:
        """Whether the run may go back (once more)."""
        return self._factor > 0 and self.count < MOST

    def resume(self, step: int) -> None:
        """Reads how often a run that resumes at `step` went back before that."""
        if self._path.exists():
            with MetricsLog(self._path, writes=False) as notes:
                before = [row["count"] for (at, _), row in notes.rows.items() if at <= step]
            self.count = max(before, default=0)

    def apply(self, state: TrainState, layout: Layout) -> TrainState:
        """A state just restored, with the share of the rate that it has from there on."""
        if not self._factor:
            return state
        old: WithPlateau = state.opt_state
        share = layout.put(np.float32(self._factor**self.count))
        return state.replace(opt_state=old._replace(plateau=old.plateau._replace(share=share)))

    def go_back(
        self, error: Diverged, e: Experiment, checkpoints: Checkpoints, log: MetricsLog
    ) -> int:
        """Leaves the newest good checkpoint as the last, notes it, and returns its step.

        Raises `error` again if the run may not go back.

        Each part may be the last before a kill: then the run diverges again, and comes here.
        """
        if not self.possible:
            raise error
        checkpoints.wait()
        saved = checkpoints.steps()
        # One that a signal or the clock asked for is not there in every run of this config.
        planned = [step for step in saved if step == 0 or any(e.schedule.due(step))]
        step, self.count = max(planned or saved), self.count + 1
        checkpoints.remove_after(step)
        log.cut(step)
        sizes = self._path.with_name("step_sizes.jsonl")
        if sizes.exists():  # The line of that step, too, was of the old rate.
            with MetricsLog(sizes, writes=first_process()) as of_1998:
                of_1998.cut(step - 1)
        why = str(error).split(":")[0]
        row: dict[str, Any] = {"step": step, "split": SPLIT, "count": self.count}
        with MetricsLog(self._path, writes=first_process()) as notes:
            notes.cut(step - 1)
            notes.write({**row, "why": why, "factor": self._factor, "time": time.time()})
        rate = self._factor**self.count * e.rate(step)
        say(
            f"{why}: back to step {step:,}, learning rate {rate:.3g} from there "
            f"({self.count} of {MOST})"
        )
        return step
