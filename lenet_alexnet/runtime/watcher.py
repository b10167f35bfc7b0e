"""The watcher: a small process beside each training process, which ends it where it is stuck.

`watch` starts it. It imports only the standard library. The watchers of many processes are
connected to that of process 0, which decides for all. A watcher counts only time in which it runs
itself, so that a job may be suspended.
"""

import hmac
import json
import socket
import sys
import time
from typing import Any

from lenet_alexnet.errors import Interrupted
from lenet_alexnet.runtime.links import Link, Links
from lenet_alexnet.runtime.stuck import describe, judge, where
from lenet_alexnet.runtime.watched import Watched

TICK = 0.5  # seconds between two looks
SILENCE = 30.0  # seconds without a word of another watcher, after which its process is lost
GRACE = 3.0  # seconds after a failure in which its cause may become known: a process that ended
CONNECT = 60.0  # seconds
AGAIN = "run the same command again"
KILLED = "it was killed or crashed"


class Watcher:
    """Watches one process, with the watchers of the others; `control` is its connection to it."""

    def __init__(self, watched: Watched, control: socket.socket) -> None:
        self.watched, self.process, self.token = watched, 0, ""
        self.failures: list[tuple[float, dict[str, Any]]] = []
        self.others = Links()  # of process 0: to all others; of another: to process 0
        self.trainer = self.others.add(control, self.hear_trainer)

    def run(self) -> None:
        """Watches until the process ends; then this program ends."""
        before = time.monotonic()
        while True:
            self.others.wait(TICK)
            if (now := time.monotonic()) - before >= TICK:
                self.look(min(now - before, 2 * TICK))
                before = now

    def look(self, seconds: float) -> None:
        """What is done at each tick; `seconds` have passed since the last one."""
        if not self.watched.alive():
            self.bereaved()
        self.watched.look(seconds)
        self.others.send(state=self.state())
        for link in list(self.others.known.values()):
            link.silent += seconds
            if link.silent > SILENCE:
                self.lost(link.state, f"no answer for {link.silent:.0f} s")
        if self.process == 0 or not self.others.known:
            self.decide()

    def state(self) -> dict[str, Any]:
        """What is known of this watcher's process."""
        return {"process": self.process, **self.watched.state()}

    def decide(self) -> None:
        """Ends the job if a process is stuck or has failed."""
        states = [self.state(), *(link.state for link in self.others.known.values())]
        stuck = judge(states)
        if self.failures and not stuck:  # While a process is stopped, exchanges with it fail.
            stuck = [state for state in states if state["stopped"]]
        if stuck:
            line = f"stuck: {describe(stuck)}; {AGAIN} (stacks: stuck_*.txt in the workdir)"
            self.end(line, Interrupted.exit_code, stacks=True)
        if self.failures:
            known = [failure for _, failure in self.failures if failure["known"]]
            patience = GRACE if known else SILENCE + GRACE
            if time.monotonic() - self.failures[0][0] > patience:
                failure = known[0] if known else self.failures[0][1]
                line = f"error: process {failure['process']} failed: {failure['line']}"
                self.end(line, 1, of=failure["process"])

    def lost(self, state: dict[str, Any], why: str) -> None:
        """Ends the job, as one of its processes is no longer there."""
        self.end(f"lost: {where(state)}: {why}; {AGAIN}", Interrupted.exit_code)

    def bereaved(self) -> None:
        """The process has ended without a word."""
        if self.process == 0 and self.others.known:
            self.lost(self.state(), KILLED)
        self.others.send(ended=self.state())
        sys.exit()

    def end(self, line: str, code: int, *, stacks: bool = False, of: int = -1) -> None:
        """Ends all processes, if this is the watcher of process 0; else its own.

        Args:
          line: what is reported.
          code: the exit code.
          stacks: whether the stacks of all threads are written to files.
          of: the process that has failed: it reports that itself.
        """
        if self.process == 0:
            self.others.send(end={"line": line, "code": code, "stacks": stacks, "of": of})
        else:  # The watcher of process 0 waits until it has been heard.
            self.others.drop_all()
        if of == self.process:
            self.trainer.send(end=True)
            sys.exit()
        self.watched.end(line, code, f"stuck_{self.process}.txt" if stacks else "")

    def hear_trainer(self, link: Link) -> None:
        """Messages of the process that is watched."""
        messages = link.receive()
        if messages is None:
            self.bereaved()
        for message in messages or ():
            if "listen" in message:
                self.token = message["listen"]
                link.send(port=self.others.listen(self.hear_other))
            elif "join" in message:
                self.join(**message["join"])
            elif "failed" in message:
                self.failed(message["failed"])
            elif "bye" in message:
                self.others.send(bye=True)
                sys.exit()

    def join(self, host: str, port: int, token: str, process: int) -> None:
        """Connects to the watcher of process 0."""
        self.process = process
        try:
            first = self.others.add(
                socket.create_connection((host, port), CONNECT), self.hear_other
            )
        except OSError as error:
            self.trainer.send(refused=str(error))
            return
        self.others.know(first, 0)
        first.send(token=token, process=process, state=self.state())

    def failed(self, failure: dict[str, Any]) -> None:
        """A process has failed: the watcher of process 0 decides what is reported."""
        if self.process:
            self.others.send(failed=failure)
        else:
            self.failures.append((time.monotonic(), failure))

    def hear_other(self, link: Link) -> None:
        """Messages of another watcher."""
        messages = link.receive()
        if link.process is None and messages:  # The first message has the token.
            if hmac.compare_digest(str(messages[0].get("token", "")), self.token):
                self.others.know(link, int(messages[0]["process"]))
            else:
                messages = None
        if messages is None:
            self.others.drop(link)
            if link.state:
                self.lost(link.state, "it and its watcher were killed, or its node failed")
            if self.process:
                self.trainer.send(refused="the connection was closed")
            return
        link.silent = 0.0
        for message in messages:
            if "state" in message:
                if not link.state:
                    self.trainer.send(joined=link.process)
                link.state = message["state"]
            elif "ended" in message:
                self.lost(message["ended"], KILLED)
            elif "failed" in message:
                self.failed(message["failed"])
            elif "end" in message:
                self.end(**message["end"])
            elif "bye" in message:
                self.others.drop(link)


def main() -> None:
    """Watches, with the options in the last argument."""
    options = json.loads(sys.argv[-1])
    control = socket.socket(fileno=options.pop("control"))
    watcher = Watcher(Watched(**options), control)
    try:
        watcher.run()
    finally:
        watcher.others.close()
