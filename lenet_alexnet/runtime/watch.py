"""The watch over a training process: no process waits for ever, and all of a run end together."""

import contextlib
import faulthandler
import json
import mmap
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import lenet_alexnet
from lenet_alexnet.errors import DataError, Diverged, Interrupted, LenetAlexnetError
from lenet_alexnet.runtime import backend, exits, heartbeat, processes, unexpected
from lenet_alexnet.runtime.watcher import CONNECT, SILENCE

CLOSE = 10  # seconds
STUCK = "stuck: "  # the beginning of the line about a process that was ended
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
# How errors of XLA and Gloo begin where another process does not answer.
BROKEN = re.compile("Gloo|NCCL|UNAVAILABLE|DEADLINE_EXCEEDED|CANCELLED|ABORTED")
WATCHER = (
    "import sys; sys.path.append(sys.argv[1]); import lenet_alexnet.runtime.watcher as w; w.main()"
)


class Watch:
    """This process's watcher, a separate program."""

    def __init__(self, stuck_after: float, folder: Path) -> None:
        page, self._stacks = _memory("heartbeat"), _memory("stacks")
        os.ftruncate(page, heartbeat.PAGE.size)
        self._page = mmap.mmap(page, heartbeat.PAGE.size)
        heartbeat.show_in(self._page)
        asked, self._ask = os.pipe()
        self._control, control = socket.socketpair()
        self._answers = self._control.makefile("rb")
        ends = {code: exits.on_byte(code) for code in (1, Interrupted.exit_code)}
        options = {
            "control": control.fileno(),
            "stuck_after": stuck_after,
            "page": page,
            "ask": self._ask,
            "stacks": self._stacks,
            "exits": ends,
            "folder": str(folder.absolute()),
        }
        given = [page, self._ask, self._stacks, control.fileno(), *ends.values()]
        package = str(Path(lenet_alexnet.__file__).parents[1])
        command = [sys.executable, "-I", "-S", "-c", WATCHER, package, json.dumps(options)]
        # Ctrl-C and Slurm's signals come to the watcher, too. They are not for it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            null = subprocess.DEVNULL
            self._watcher = subprocess.Popen(command, stdin=null, stdout=null, pass_fds=given)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        faulthandler.register(signal.SIGUSR2, file=self._stacks)
        self._writer = threading.Thread(target=self._write_stacks, args=(asked,), daemon=True)
        self._writer.start()
        control.close()
        os.close(page)

    def connect(self) -> None:
        """Connects the watchers of all processes, after `processes.join`.

        Raises:
          DataError: they do not reach each other.
        """
        if processes.count() == 1:
            return
        exits.delay_aborts()
        host, this, key = processes.host_of_first(), processes.index(), "lenet_alexnet/watch"
        if this == 0:
            token = secrets.token_hex()
            self._send(listen=token)
            processes.tell_others(key, {"port": self._answer("port"), "token": token})
        else:
            self._send(join={"host": host, "process": this, **processes.told(key)})
        for _ in range(1 if this else processes.count() - 1):
            self._answer("joined")

    @contextlib.contextmanager
    def ending_together(self) -> Iterator[None]:
        """Inside, an error in one of many processes ends it at once, and then the others.

        Otherwise it would wait at exit for the others, which wait for it in a step. Errors of all
        processes together (a stop, divergence, `Differ`) are raised as usual.
        """
        try:
            yield
        except (Interrupted, Diverged, processes.Differ):
            raise
        except Exception as error:
            if processes.count() == 1:
                raise
            self._fail(error)

    def _fail(self, error: Exception) -> NoReturn:
        """Ends this process after an error; or its watcher does, if another process caused it."""
        line, this = " ".join(str(error).split())[:300], processes.index()
        ours = isinstance(error, LenetAlexnetError)
        cause = error.__cause__ if ours else error
        broken = isinstance(cause, (RuntimeError, ValueError)) and BROKEN.search(str(cause))
        if broken:
            print("communication with the other processes failed: asking why", file=sys.stderr)
            line += " (all processes still answer)"
        elif not ours:
            line = unexpected.tell(error, None, debug="--debug" in sys.argv)[0]
        heartbeat.beat()
        failure = {"process": this, "line": line, "known": not broken}
        with contextlib.suppress(DataError, OSError):  # The watcher may be gone.
            self._send(failed=failure)
            self._answer("end")
        print(f"error: process {this}: {line}", file=sys.stderr, flush=True)
        os._exit(error.exit_code if isinstance(error, LenetAlexnetError) else 1)

    def close(self) -> None:
        """Ends the watch."""
        with contextlib.suppress(OSError):  # The watcher may be gone.
            self._send(bye=True)
        try:
            self._watcher.wait(CLOSE)
        except subprocess.TimeoutExpired:  # It may be stopped.
            self._watcher.kill()
            self._watcher.wait()
        heartbeat.show_in(bytearray(heartbeat.PAGE.size))
        faulthandler.unregister(signal.SIGUSR2)
        os.write(self._ask, b"-")  # A forked process may hold this end: closing it is not enough.
        self._writer.join()
        os.close(self._ask)
        self._answers.close()
        self._control.close()
        self._page.close()
        os.close(self._stacks)

    def _write_stacks(self, asked: int) -> None:
        """Writes the stacks of all threads when the watcher asks; a thread that waits for it."""
        if os.read(asked, 1) == b"x":
            faulthandler.dump_traceback(self._stacks)
        os.close(asked)

    def _send(self, **message: Any) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")

    def _answer(self, key: str) -> Any:
        """The watcher's answer; DataError: it is another, or does not come in time."""
        self._control.settimeout(CONNECT + SILENCE)
        try:
            answer = json.loads(self._answers.readline())
        except (OSError, ValueError) as error:
            raise DataError(f"the watcher of this process does not answer: {error}") from error
        if key not in answer:
            why = answer.get("refused")
            raise DataError(f"the processes cannot watch each other: {why}")
        return answer[key]


@contextlib.contextmanager
def watching(stuck_after: float, folder: Path) -> Iterator[Watch]:
    """Inside, this process is watched.

    Where it makes no progress, its watcher ends it with exit code 75. So it does where another
    process of the run ends.

    Args:
      stuck_after: seconds, see `heartbeat.ALLOWANCES`; 0: never.
      folder: of the run; the stacks of a process that was stuck are written to files there.
    """
    backend.leave_exchanges_to_the_watch()
    watch = Watch(stuck_after, folder)
    try:
        yield watch
    finally:
        watch.close()


def _memory(name: str) -> int:
    """The descriptor of memory that a child process can share; it is on no disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
