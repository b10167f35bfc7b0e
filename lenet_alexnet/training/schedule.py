"""A run's schedule in steps, and the loop that follows it."""

from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from lenet_alexnet.runtime import heartbeat
from lenet_alexnet.training.state import Noted


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A run's length and intervals in steps (interval 0: never).

    Attributes:
      cuts: more steps at which a dispatch must end.
    """

    total: int
    log: int
    evaluate: int
    save: int
    refresh: int
    per_dispatch: int
    cuts: tuple[int, ...] = ()

    def due(self, step: int) -> tuple[bool, bool]:
        """Whether to evaluate and whether to save after `step` steps; both False at the end."""
        if step == self.total:
            return False, False
        return tuple(bool(n) and step % n == 0 for n in (self.evaluate, self.save))  # type: ignore

    def next_stop(self, step: int) -> int:
        """The step at which the dispatch that starts at `step` must end."""
        stops = [self.total, step + self.per_dispatch]
        stops += [step - step % n + n for n in self._intervals]
        stops += [cut for cut in self.cuts if cut > step]
        return min(stops)

    def kinds(self) -> set[bool]:
        """True if there are full dispatches, False if there are shorter ones, from step 0 on."""
        stops = (self.total, *self._intervals)
        full = {True} if min(stops) >= self.per_dispatch else set()
        shorter = any(n % self.per_dispatch for n in (*stops, *self.cuts))
        return full | ({False} if shorter else set())

    @property
    def _intervals(self) -> tuple[int, ...]:
        return tuple(n for n in (self.log, self.evaluate, self.save, self.refresh) if n)


class Trainee(Protocol):
    """What `follow` trains: one run, or many side by side."""

    step: int  # completed steps

    def stop_requested(self) -> bool:
        """Whether a signal has requested a stop."""

    def save_and_stop(self) -> NoReturn:
        """Saves, and raises Interrupted."""

    def refresh_curvature(self) -> None:
        """Estimates the second derivatives of a network of 1998 again."""

    def dispatch(self, stop: int, running: Any) -> Noted:
        """Starts the steps up to `stop`; `running` is a result of steps that may still run."""

    def read(self, step: int, sums: Noted) -> None:
        """Copies the sums of the dispatch that ended at `step` to the host, and reports them."""

    def save_overdue(self) -> bool:
        """Whether a save is due by the clock."""

    def evaluate_and_save(self, *, evaluate: bool) -> None:
        """Saves, after an evaluation if `evaluate`; neither counts as training time."""


@heartbeat.during("training")
def follow(schedule: Schedule, trainee: Trainee, stop_at: int) -> bool:
    """Trains to the end of the schedule, or to the first evaluation at or after step `stop_at`.

    Returns whether the end was reached.
    """
    pending: tuple[int, Noted] | None = None
    heartbeat.beat(trainee.step)
    while trainee.step < schedule.total:
        if trainee.stop_requested():
            if pending:
                trainee.read(*pending)
            trainee.save_and_stop()
        if schedule.refresh and trainee.step % schedule.refresh == 0:
            trainee.refresh_curvature()
        stop = schedule.next_stop(trainee.step)
        sums = trainee.dispatch(stop, pending and pending[1].loss)
        heartbeat.beat()
        # Read one dispatch late, so that the devices already have their next work.
        if pending:
            trainee.read(*pending)
            heartbeat.beat(pending[0])
        trainee.step, pending = stop, (stop, sums)
        evaluate, save = schedule.due(stop)
        save = save or (stop < schedule.total and trainee.save_overdue())
        if evaluate or save or stop == schedule.total:
            trainee.read(*pending)
            heartbeat.beat(stop)
            pending = None
        if evaluate or save:
            trainee.evaluate_and_save(evaluate=evaluate)
        if evaluate and stop >= stop_at:
            return False
    return True
