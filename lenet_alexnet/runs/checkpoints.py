"""Checkpoints by orbax: the last few and the best, written while training goes on."""

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lenet_alexnet.runs import integrity, lock
from lenet_alexnet.errors import DataError, LenetAlexnetError
from lenet_alexnet.runtime.console import say
from lenet_alexnet.training.state import TrainState

RETRY_SECONDS = (0.0, 1.0, 5.0)  # before each new attempt at a save that failed
# Orbax numbers a process's saves: of two that start at once, one waits for ever for the other's.
ONE_START = threading.Lock()


class Checkpoints(contextlib.AbstractContextManager):
    """The checkpoints of one run, by completed steps.

    A checkpoint saved with a top-1 error on the validation split takes part in the choice of the
    best; without that split there is no best one.
    Opened to write, those that are damaged are renamed and what was never completed is removed.

    Args:
      folder: the run's folder `checkpoints`.
      keep: so many of the last stay, and the best.
      minutes: `overdue` says after so long that a save is due; 0: never.
      read_only: changes nothing.
      check: called before each save; raises DataError if the run's folder is no longer its own.
    """

    def __init__(
        self, folder: Path, keep: int = 2, *, minutes: float = 0.0, read_only: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        import orbax.checkpoint as ocp

        # Orbax says a dozen lines a save; its errors come as exceptions all the same.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        self._ocp, self._folder, self._keep = ocp, folder.resolve(), keep
        self._read_only, self._seconds, self._check = read_only, 60 * minutes, check
        if not read_only and jax.process_index() == 0:
            for one, why in integrity.set_aside_damaged(self._folder):
                _say_damaged(one, why)
            integrity.remove_unfinished(self._folder)
        self._last_save = time.monotonic()
        # Orbax starts a save with a dozen threads, which takes longer than a LeNet's epoch may.
        self._thread = futures.ThreadPoolExecutor(1)
        self._starting: futures.Future[str | None] | None = None
        self._manager = self._open()

    def _open(self) -> Any:
        from orbax.checkpoint import checkpoint_managers as managers

        def top1_error(metrics: dict[str, float]) -> float:
            return metrics["top1_error"]

        best = managers.BestN(  # `reverse`: the smallest is the best
            get_metric_fn=top1_error, reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        return self._ocp.CheckpointManager(
            self._folder,
            options=self._ocp.CheckpointManagerOptions(
                preservation_policy=managers.AnyPreservationPolicy(
                    [managers.LatestN(self._keep), best]
                ),
                best_fn=top1_error,  # Without it orbax does not write the metrics.
                best_mode="min",
                create=not self._read_only,
                read_only=self._read_only,
                lightweight_initialize=self._read_only,  # Damaged ones must not matter.
                temporary_path_class=_with_sums(self._check),
            ),
            item_names=("variables", "rest"),
        )

    def save(
        self, step: int, state: TrainState, top1_error: float | None, *, wait: bool = False,
        first: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Saves; returns once the state is copied to the host, or (`wait`) it is on disk.

        `first` is called before, behind the training too: for what must be on disk by then.

        A save that failed, this one or the one before, is said and made good: now, with the
        present state, several times if need be.

        Raises:
          DataError: it cannot be written. What was saved before is still there.
        """
        failed = self._settle()
        if not failed and jax.process_count() > 1:  # They meet in it, in the order of their calls.
            failed = self._start(step, state, top1_error, first)
        elif not failed:
            # Copied on CPUs too, where `device_get` gives what the next step writes over.
            state = jax.tree.map(np.array, jax.device_get(state))
            self._starting = self._thread.submit(self._start, step, state, top1_error, first)
        if wait and not failed:
            failed = self._settle()
        for pause in RETRY_SECONDS:
            if not failed:
                break
            say(f"warning: a checkpoint could not be saved ({failed}): trying again")
            time.sleep(pause)
            self._check()  # Orbax makes the folder again, if it is not there.
            self._reopen()
            failed = self._start(step, state, top1_error, first) or self._settle()
        if failed:
            self._check()
            self._reopen()
            last = self.latest()
            raise DataError(
                f"cannot save a checkpoint of step {step} in '{self._folder}' ({failed}); "
                + ("none was saved before" if last is None else f"the last is that of step {last}")
            )
        self._last_save = time.monotonic()

    def _start(
        self, step: int, state: TrainState, top1_error: float | None, first: Callable[[], None]
    ) -> str | None:
        """Starts a save; returns the reason if that fails."""
        metrics = None if top1_error is None else {"top1_error": top1_error}
        ocp = self._ocp
        # Two items: what is evaluated is opened without knowing the optimizer.
        items = ocp.args.Composite(
            variables=ocp.args.StandardSave(state.variables),
            rest=ocp.args.StandardSave(state.rest),
        )
        try:
            self._check()
            first()
            with ONE_START:
                if step in self._manager.all_steps():  # Saved by a signal, not yet evaluated.
                    self._manager.delete(step)
                self._manager.save(step, args=items, metrics=metrics, force=True)
        except LenetAlexnetError:
            raise
        except Exception as error:  # Orbax and tensorstore raise many kinds.
            return _reason(error)
        return None

    def _settle(self) -> str | None:
        """Waits for the save that is under way; returns the reason if it failed."""
        starting, self._starting = self._starting, None
        if starting and (failed := starting.result()):
            return failed
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            return _reason(error)
        return None

    def _reopen(self) -> None:
        """After a failure orbax's idea of what is on disk, and its threads, are not to be used."""
        with contextlib.suppress(Exception):
            self._manager.close()
        integrity.remove_unfinished(self._folder)
        self._manager = self._open()

    def overdue(self) -> bool:
        """Whether the last save (or the start) was longer ago than `minutes`."""
        return 0 < self._seconds <= time.monotonic() - self._last_save

    def _started(self) -> Any:
        """The manager, once it knows of the save that is being started."""
        if self._starting:
            futures.wait([self._starting])
        return self._manager

    def latest(self) -> int | None:
        """The newest checkpoint's step."""
        return self._started().latest_step()

    def steps(self) -> list[int]:
        """The steps of all checkpoints that are whole."""
        return list(self._started().all_steps())

    def remove_after(self, step: int) -> None:
        """Removes the checkpoints of later steps."""
        for later in self.steps():
            if later > step:
                self._manager.delete(later)

    def best(self) -> int | None:
        """The step with the smallest top-1 error, the later of equals."""
        return self._started().best_step()

    def restore(self, step: int, template: TrainState) -> TrainState:
        """The state saved at `step`; `template` gives its structure, types and devices.

        Raises:
          DataError: the checkpoint does not fit the template or cannot be read.
        """
        rest = self._restore(step, rest=template.rest)["rest"]
        return rest.with_variables(self.restore_variables(step, template.variables))

    def restore_variables(self, step: int, template: Any) -> Any:
        """What is evaluated, as saved at `step`; for arguments and errors see `restore`."""
        return self._restore(step, variables=template)["variables"]

    def _restore(self, step: int, **templates: Any) -> Any:
        ocp = self._ocp
        items = {}
        for name, tree in templates.items():
            self._compare(step, name, tree)
            items[name] = ocp.args.StandardRestore(jax.tree.map(_abstract, tree))
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # Orbax and tensorstore raise many kinds.
            line = str(error).strip().split("\n")[0]
            raise DataError(
                f"cannot restore checkpoint {step} in {self._manager.directory}: {line}"
            ) from error

    def _compare(self, step: int, item: str, template: Any) -> None:
        """Raises DataError with the first array that is not as in the template."""
        there, here = integrity.arrays(self._folder / str(step) / item), _arrays(template)
        for name in sorted(there.keys() | here.keys()):
            a, b = there.get(name, "absent"), here.get(name, "absent")
            if a != b:
                raise DataError(
                    f"cannot restore checkpoint {step} in '{self._folder}': "
                    f"{name} is {a} there, the config makes it {b}"
                )

    def first_whole(self, which: str) -> int | None:
        """The step of the best or last checkpoint that is whole; damaged ones are said.

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
        """Returns when every save is on disk, or has failed, which is said."""
        if failed := self._settle():
            say(f"warning: the last checkpoint could not be saved ({failed})")

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):  # What failed has been said.
                self._manager.close()
            self._thread.shutdown()
            self._clear_away()

    def _clear_away(self) -> None:
        """If the run's folder has gone: removes what a save under way has made there since."""
        try:
            self._check()
        except DataError:
            if not (self._folder.parent / lock.NAME).exists():  # It is no other run's now.
                integrity.remove_unfinished(self._folder)
                for folder in (self._folder, self._folder.parent):
                    with contextlib.suppress(OSError):  # There is more in it.
                        folder.rmdir()


def _with_sums(check: Callable[[], None]) -> type:
    """Orbax's rename at the end of a save, with the checksums written just before.

    Orbax makes folders that are not there, so that `check` has its say at both ends.
    """
    from orbax.checkpoint import path as paths

    class WithSums(paths.atomicity.AtomicRenameTemporaryPath):
        async def create(self) -> Any:
            check()
            return await super().create()

        async def finalize(self) -> None:
            check()
            if self.get_final().name.isdecimal():  # A checkpoint; else one of its items.
                integrity.write_sums(Path(self.get()))
            await super().finalize()

    return WithSums


def _say_damaged(one: integrity.Saved, why: str) -> None:
    say(f"warning: the checkpoint of step {one.step:,} is damaged ({why}): using another")


def _reason(error: Exception) -> str:
    """One line of an exception that may be many: the system's words, where there are any."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    system = re.search(r": ([^:]+) \[os_error_code", line)  # Tensorstore adds pages to them.
    return system[1] if system else line[:200]


def _arrays(tree: Any) -> dict[str, str]:
    """As `integrity.arrays`, of a state."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        found[name] = f"{leaf.dtype}{list(leaf.shape)}".replace(" ", "")
    return found


def _abstract(leaf: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """A leaf's shape and type, and where it goes: to its own devices, or the default one."""
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
