"""The programs of a run's dispatches: of full ones, and of those with any number of steps."""

from collections.abc import Callable
from typing import Any

from lenet_alexnet.runtime import target
from lenet_alexnet.training.schedule import Schedule


def is_full(count: int, per_dispatch: int) -> bool:
    """Whether a dispatch of `count` steps has the program whose number of steps is a constant."""
    return target.platform() != "cpu" and count == per_dispatch


class StepPrograms:
    """The compiled programs of a dispatch, by whether it is full.

    A full dispatch has `train.steps_per_dispatch` steps. Where the number of steps is a constant, a
    GPU starts all of them without asking the host after each. A CPU saves nothing by it, and each
    program takes seconds to compile: there one program does any number.
    """

    def __init__(self, lower: Callable[[bool], Any], schedule: Schedule) -> None:
        """Compiles the programs that the schedule needs; `lower` (full) gives one of them."""
        self._lower, self._per_dispatch = lower, schedule.per_dispatch
        self._programs: dict[bool, Any] = {}
        constant = target.platform() != "cpu"
        for needed in sorted({full and constant for full in schedule.kinds()}):
            self.program(needed)

    def is_full(self, count: int) -> bool:
        """Whether the program whose number of steps is a constant does `count` of them."""
        return is_full(count, self._per_dispatch)

    @property
    def main(self) -> Any:
        """The program of most steps of the schedule."""
        return self._programs[max(self._programs)]

    def program(self, full: bool) -> Any:
        """One of the programs. A run that resumes with other dispatches may need another one."""
        if full not in self._programs:
            self._programs[full] = self._lower(full).compile()
        return self._programs[full]
