"""After divergence: the run returns to a good checkpoint and resumes with a smaller rate."""

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

MOST = 3  # After that the rate is not the cause.
SPLIT = "back off"


class BackOff:
    """How often a run went back, and the share of the learning rate that is left.

    Each time, back_off.jsonl gets a line with the step that the run went back to. A state restored
    from that step or later has the smaller rate, so a run that is killed or stopped in between
    resumes with the same rate.
    """

    def __init__(self, factor: float, folder: Path) -> None:
        self._factor, self._path = factor, folder / "back_off.jsonl"
        self.count = 0

    @property
    def possible(self) -> bool:
        """Whether the run may go back again."""
        return self._factor > 0 and self.count < MOST

    def resume(self, step: int) -> None:
        """Reads how often a run that resumes at `step` went back before that."""
        if self._path.exists():
            with MetricsLog(self._path, writes=False) as notes:
                before = [row["count"] for (at, _), row in notes.rows.items() if at <= step]
            self.count = max(before, default=0)

    def apply(self, state: TrainState, layout: Layout) -> TrainState:
        """A restored state with its share of the learning rate."""
        if not self._factor:
            return state
        old: WithPlateau = state.opt_state
        share = layout.put(np.float32(self._factor**self.count))
        return state.replace(opt_state=old._replace(plateau=old.plateau._replace(share=share)))

    def go_back(
        self, error: Diverged, e: Experiment, checkpoints: Checkpoints, log: MetricsLog
    ) -> int:
        """Makes the newest good checkpoint the last one, records it, and returns its step.

        Raises `error` again if the run may not go back.

        A kill may come between any two parts: then the run diverges again and returns here.
        """
        if not self.possible:
            raise error
        checkpoints.wait()
        saved = checkpoints.steps()
        # A checkpoint due to a signal or the clock does not exist in every run of this config.
        planned = [step for step in saved if step == 0 or any(e.schedule.due(step))]
        step, self.count = max(planned or saved), self.count + 1
        checkpoints.remove_after(step)
        log.cut(step)
        sizes = self._path.with_name("step_sizes.jsonl")
        if sizes.exists():  # The line of that step has the old rate, too.
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
