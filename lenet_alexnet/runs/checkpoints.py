"""Checkpoints by orbax: the last few and the best, written while training continues."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from lenet_alexnet.errors import DataError
from lenet_alexnet.runs import integrity
from lenet_alexnet.runs.orbax_manager import open_manager, reason
from lenet_alexnet.runs.restore import restore_item
from lenet_alexnet.runs.saver import Saver, State
from lenet_alexnet.runtime import heartbeat
from lenet_alexnet.runtime.console import say

AnyState = TypeVar("AnyState", bound=State)


def best_or_last(data: Mapping[str, Any]) -> str:
    """Which checkpoint of a run is used, by its config's `data`: "best" if a split selects it."""
    return "best" if data["validation"] else "last"


class Checkpoints(contextlib.AbstractContextManager):
    """The checkpoints of one run, by completed steps.

    The best is chosen among the checkpoints saved with a top-1 error on the validation split;
    without that split, there is no best one.
    On opening for writing, damaged checkpoints are renamed and unfinished ones are removed.

    Args:
      folder: the run's folder `checkpoints`.
      keep: the number of last checkpoints that stay; the best one stays, too.
      minutes: `overdue` is true after this time without a save; 0: never.
      read_only: changes nothing.
      check: called before each save; raises DataError if the run no longer holds its folder.
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 2,
        *,
        minutes: float = 0.0,
        read_only: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder, self._seconds = folder.resolve(), 60 * minutes
        if not read_only and jax.process_index() == 0:
            for one, why in integrity.set_aside_damaged(self._folder):
                _say_damaged(one, why)
            integrity.remove_unfinished(self._folder)
        self._last_save = time.monotonic()
        self._saver = Saver(self._folder, keep=keep, read_only=read_only, check=check)

    def save(
        self,
        step: int,
        state: State,
        top1_error: float | None,
        *,
        wait: bool = False,
        first: Callable[[], None] = lambda: None,
    ) -> None:
        """Saves a state; for arguments and errors see `Saver.save`."""
        self._saver.save(step, state, top1_error, wait=wait, first=first)
        self._last_save = time.monotonic()

    def overdue(self) -> bool:
        """Whether the last save (or the start) was longer ago than `minutes`."""
        return 0 < self._seconds <= time.monotonic() - self._last_save

    def latest(self) -> int | None:
        """The newest checkpoint's step."""
        return self._saver.started().latest_step()

    def steps(self) -> list[int]:
        """The steps of all checkpoints that are whole."""
        return list(self._saver.started().all_steps())

    def remove_after(self, step: int) -> None:
        """Removes the checkpoints of later steps."""
        for later in self.steps():
            if later > step:
                self._saver.manager.delete(later)

    def best(self) -> int | None:
        """The step with the smallest top-1 error; of equals the latest."""
        return self._saver.started().best_step()

    @heartbeat.during("restoring")
    def restore(self, step: int, template: AnyState) -> AnyState:
        """The state saved at `step`; `template` gives its structure, types and devices.

        Raises:
          DataError: the checkpoint does not fit the template or cannot be read.
        """
        rest = restore_item(self._saver.manager, self._folder, step, "rest", template.rest)
        return rest.with_variables(self.restore_variables(step, template.variables))

    def restore_variables(self, step: int, template: Any) -> Any:
        """The variables saved at `step`; for arguments and errors see `restore`."""
        return restore_item(self._saver.manager, self._folder, step, "variables", template)

    def first_whole(self, which: str) -> int | None:
        """The step of the best or last whole checkpoint; damaged ones are reported.

        Raises:
          DataError: there are such checkpoints, but none is whole.
        """
        checkpoints = integrity.saved(self._folder)
        candidates = integrity.by_error(checkpoints) if which == "best" else checkpoints
        damaged: list[tuple[integrity.Saved, str]] = []
        for one in candidates:
            why = integrity.problem(one.folder)
            if why is None:
                for each in damaged:
                    _say_damaged(*each)
                return one.step
            damaged.append((one, why))
        if damaged:
            raise integrity.none_whole(self._folder, *damaged[0])
        return None

    def wait(self) -> None:
        """Returns when every save is on disk or has failed; a failure is reported."""
        self._saver.wait()

    def __exit__(self, *_: object) -> None:
        self._saver.close()


def write_weights(folder: Path, variables: Any) -> None:
    """Writes the only checkpoint, of step 0, of weights that were trained elsewhere.

    Args:
      folder: the run's folder `checkpoints`; it is created.
      variables: of a network, as arrays of JAX: orbax would copy those of NumPy.

    Raises:
      DataError: it cannot be written.
    """
    import orbax.checkpoint as ocp

    manager = open_manager(folder.resolve(), keep=1, read_only=False, check=lambda: None)
    items = ocp.args.Composite(
        variables=ocp.args.StandardSave(variables),
        rest=ocp.args.StandardSave({"step": jnp.zeros((), jnp.int32)}),
    )
    try:
        manager.save(0, args=items, force=True)
        manager.wait_until_finished()
    except Exception as error:  # Orbax and tensorstore raise many kinds.
        raise DataError(f"cannot save a checkpoint in '{folder}' ({reason(error)})") from error
    finally:
        manager.close()


def _say_damaged(one: integrity.Saved, why: str) -> None:
    say(f"warning: the checkpoint of step {one.step:,} is damaged ({why}): using another")
