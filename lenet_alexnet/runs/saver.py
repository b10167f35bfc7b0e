"""Saves checkpoints in the background of training, and again if a save fails."""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from lenet_alexnet.errors import DataError, LenetAlexnetError
from lenet_alexnet.runs import integrity, lock
from lenet_alexnet.runs.orbax_manager import open_manager, reason
from lenet_alexnet.runtime import heartbeat
from lenet_alexnet.runtime.console import say

RETRY_SECONDS = (0.0, 1.0, 5.0)  # before each new attempt at a save that failed
QUIET, CLEARING = 0.5, 10.0  # seconds without what is still written, and at most; see below
# Orbax numbers a process's saves: if two start at once, one waits for the other forever.
ONE_START = threading.Lock()


class State(Protocol):
    """A pytree in two parts: what is evaluated, and the rest of what a resumed run needs."""

    @property
    def variables(self) -> Any:
        """What is evaluated."""

    @property
    def rest(self) -> Any:
        """The state without its `variables`; `rest.with_variables(variables)` is the state."""


class Saver:
    """Orbax's manager of one run's checkpoints, and the save in progress.

    For the arguments see `checkpoints.Checkpoints`.
    """

    def __init__(
        self, folder: Path, *, keep: int, read_only: bool, check: Callable[[], None]
    ) -> None:
        self._folder, self._keep, self._read_only, self._check = folder, keep, read_only, check
        # Orbax starts a save with a dozen threads; that may take longer than an epoch of LeNet.
        self._thread = futures.ThreadPoolExecutor(1)
        self._starting: futures.Future[str | None] | None = None
        self.manager = self._open()

    def _open(self) -> Any:
        return open_manager(
            self._folder, keep=self._keep, read_only=self._read_only, check=self._check
        )

    def started(self) -> Any:
        """The manager, after any save that is being started."""
        if self._starting:
            futures.wait([self._starting])
        return self.manager

    @heartbeat.during("saving")
    def save(
        self,
        step: int,
        state: State,
        top1_error: float | None,
        *,
        wait: bool = False,
        first: Callable[[], None] = lambda: None,
    ) -> None:
        """Saves; returns when the state is copied to the host or, with `wait`, is on disk.

        `first` is called before the save, in its thread, to write what must be on disk first.

        If this save or the one before failed, that is reported and this state is saved again, up to
        three times.

        Raises:
          DataError: it cannot be written. Earlier checkpoints stay.
        """
        failed = self._settle()
        if not failed and jax.process_count() > 1:  # All processes must call it in the same order.
            failed = self._start(step, state, top1_error, first)
        elif not failed:
            # On CPUs, `device_get` returns memory that the next step overwrites: copy it.
            state = jax.tree.map(np.array, jax.device_get(state))
            self._starting = self._thread.submit(self._start, step, state, top1_error, first)
        if wait and not failed:
            failed = self._settle()
        for pause in RETRY_SECONDS:
            if not failed:
                break
            say(f"warning: a checkpoint could not be saved ({failed}): trying again")
            time.sleep(pause)
            self._check()  # Orbax would create a missing folder again.
            self._reopen()
            failed = self._start(step, state, top1_error, first) or self._settle()
        if failed:
            self._check()
            self._reopen()
            last = self.manager.latest_step()
            raise DataError(
                f"cannot save a checkpoint of step {step} in '{self._folder}' ({failed}); "
                + ("none was saved before" if last is None else f"the last is of step {last}")
            )

    def _start(
        self, step: int, state: State, top1_error: float | None, first: Callable[[], None]
    ) -> str | None:
        """Starts a save; returns the reason if it fails."""
        import orbax.checkpoint as ocp

        metrics = None if top1_error is None else {"top1_error": top1_error}
        # Two items, so that `variables` can be read without the optimizer.
        items = ocp.args.Composite(
            variables=ocp.args.StandardSave(state.variables),
            rest=ocp.args.StandardSave(state.rest),
        )
        try:
            self._check()
            first()
            if jax.process_index() == 0:
                shutil.rmtree(self._folder / integrity.REMOVED, ignore_errors=True)
            with ONE_START:
                if step in self.manager.all_steps():  # Saved by a signal, not yet evaluated.
                    self.manager.delete(step)
                self.manager.save(step, args=items, metrics=metrics, force=True)
        except LenetAlexnetError:
            raise
        except Exception as error:  # Orbax and tensorstore raise many kinds.
            return reason(error)
        return None

    def _settle(self) -> str | None:
        """Waits for the save in progress; returns the reason if it failed."""
        starting, self._starting = self._starting, None
        if starting and (failed := starting.result()):
            return failed
        try:
            self.manager.wait_until_finished()
        except Exception as error:
            return reason(error)
        return None

    def _reopen(self) -> None:
        """Opens a new manager: after a failure, orbax's threads and file list are unusable."""
        with contextlib.suppress(Exception):
            self.manager.close()
        integrity.remove_unfinished(self._folder)
        self.manager = self._open()

    @heartbeat.during("saving")
    def wait(self) -> None:
        """Returns when the save in progress is on disk or has failed; a failure is reported."""
        if failed := self._settle():
            say(f"warning: the last checkpoint could not be saved ({failed})")

    def close(self) -> None:
        """Waits for the save in progress, and ends the threads."""
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):  # What failed has been reported.
                self.manager.close()
            self._thread.shutdown()
            if jax.process_index() == 0 and not self._read_only:
                shutil.rmtree(self._folder / integrity.REMOVED, ignore_errors=True)
            _clear_away(self._folder, self._check)


def _clear_away(folder: Path, check: Callable[[], None]) -> None:
    """If a run's folder was removed, removes what the save in progress wrote there since.

    When one array cannot be written, orbax does not wait for the others. They make their folder
    again, so it must stay away for `QUIET` seconds.
    """
    with contextlib.suppress(DataError):
        check()
        return
    begin = gone = time.monotonic()
    while gone - begin < CLEARING and time.monotonic() - gone < QUIET:
        if (folder.parent / lock.NAME).exists():  # Another run holds it.
            break
        if folder.exists():
            gone = time.monotonic()
            integrity.remove_unfinished(folder)
            for each in (folder, folder.parent):
                with contextlib.suppress(OSError):  # It is not empty.
                    each.rmdir()
        time.sleep(0.02)
