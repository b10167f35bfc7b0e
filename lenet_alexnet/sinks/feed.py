"""Feeds sinks from threads, so that none of them can delay or end the training."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from lenet_alexnet.runs.metrics import Row
from lenet_alexnet.runtime.console import say
from lenet_alexnet.sinks.libraries import require
from lenet_alexnet.sinks.sink import COMPLETED, DIVERGED, FAILED, INTERRUPTED, About, Sink

WAITING = 10_000  # lines that a slow sink may be behind
LAST = 20.0  # seconds that a run waits at its end for the last lines to be sent


class Feed:
    """One sink in its thread. After its first error it gets nothing more, with one warning."""

    def __init__(self, name: str, make: Callable[[], Sink]) -> None:
        """`make` is called in the thread: importing a library or calling a service takes long."""
        self._name, self._make = name, make
        self._calls: queue.Queue[Callable[[Sink], None] | None] = queue.Queue(WAITING)
        self._failed = False
        self._thread = threading.Thread(target=self._run, name=f"log to {name}", daemon=True)
        self._thread.start()

    def put(self, call: Callable[[Sink], None] | None) -> None:
        """Adds a call; None is the end."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            self._give_up("it is too slow")

    def join(self, deadline: float) -> None:
        """Waits for the end, until `deadline` (`time.monotonic`) at most."""
        self._thread.join(max(deadline - time.monotonic(), 0))
        if self._thread.is_alive():
            self._give_up(f"it does not take the last lines within {LAST:.0f} s")

    def _run(self) -> None:
        try:
            sink = self._make()
            while (call := self._calls.get()) is not None and not self._failed:
                call(sink)
        except (Exception, SystemExit) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self._give_up(lines[0])

    def _give_up(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            say(f"warning: log.to '{self._name}' fails and gets nothing more in this run: {why}")


class Sinks(contextlib.AbstractContextManager):
    """The sinks of a run, as a follower of its metrics.jsonl.

    Args:
      names: of `libraries.LIBRARIES`.
      about: the run.

    Raises:
      UsageError: see `libraries.require`.
    """

    def __init__(self, names: Iterable[str], about: About) -> None:
        require(names)
        self._feeds = [Feed(name, _maker(name, about)) for name in dict.fromkeys(names)]
        self._deadline: float | None = None

    def begin(self, rows: Iterable[Row]) -> None:
        """The lines so far."""
        lines = list(rows)
        self._put(lambda sink: sink.begin(lines))

    def write(self, row: Row) -> None:
        """One more line."""
        self._put(lambda sink: sink.write(row))

    def _put(self, call: Callable[[Sink], None] | None) -> None:
        for feed in self._feeds:
            feed.put(call)

    def end(self, status: str) -> None:
        """Announces the end of the run; many runs can end at once before any is waited for."""
        if self._deadline is None:
            self._put(lambda sink: sink.close(status))
            self._put(None)
            self._deadline = time.monotonic() + LAST

    def __exit__(self, kind: Any, *_: object) -> None:
        """Ends the run, if `end` was not called, and waits for the sinks."""
        known = {"Interrupted": INTERRUPTED, "Diverged": DIVERGED}
        self.end(COMPLETED if kind is None else known.get(kind.__name__, FAILED))
        assert self._deadline is not None
        for feed in self._feeds:
            feed.join(self._deadline)


def _maker(name: str, about: About) -> Callable[[], Sink]:
    def make() -> Sink:
        if name == "tensorboard":
            from lenet_alexnet.sinks.tensorboard_events import TensorBoard

            return TensorBoard(about)
        if name == "wandb":
            from lenet_alexnet.sinks.wandb_run import WandbRun

            return WandbRun(about)
        if name == "mlflow":
            from lenet_alexnet.sinks.mlflow_run import MlflowRun

            return MlflowRun(about)
        from lenet_alexnet.sinks.csv_file import CsvFile

        return CsvFile(about)

    return make
