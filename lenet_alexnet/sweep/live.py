"""What is shown while a sweep runs: a table on a terminal; elsewhere a line per ended trial."""

import sys
import time
from collections import Counter
from collections.abc import Sequence

from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.expand import Trial
from lenet_alexnet.sweep.trials import Sweep

MOST_ROWS = 20
SECONDS = 1.0


class Live:
    """Shows counts of all trials and the newest record of each running one."""

    def __init__(self, sweep: Sweep, trials: Sequence[Trial]) -> None:
        self.sweep, self.trials = sweep, {trial.id: trial for trial in trials}
        self.ends = {trial.id: sweep.status(trial.id)[0] for trial in trials}
        self.drawn, self.next = 0, 0.0
        self.terminal = sys.stderr.isatty()

    def watch(self, at_work: list[str]) -> None:
        """Shows changes; called often."""
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + SECONDS
        lines = [line for name in self.trials if (line := self._end(name))]
        if self.terminal:
            self._redraw(lines, at_work)
        else:
            for line in lines:
                print(line, file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Shows ends that were not shown yet."""
        self.next = 0.0
        self.watch([])

    def _end(self, name: str) -> str:
        """A line if the trial has ended since the last check, else ""."""
        if self.ends[name] in states.ENDED:
            return ""
        status, error = self.sweep.status(name)
        self.ends[name] = status
        if status not in states.ENDED:
            return ""
        ended = sum(end in states.ENDED for end in self.ends.values())
        return f"[{ended}/{len(self.ends)}] {self._describe(name)}  {status} {error}".rstrip()

    def _describe(self, name: str) -> str:
        overrides = self.trials[name].overrides.items()
        return " ".join([name, *(f"{key.rpartition('.')[2]}={value}" for key, value in overrides)])

    def _redraw(self, lines: Sequence[str], at_work: Sequence[str]) -> None:
        counts = Counter(self.ends.values())
        open_ones = counts.pop(states.PENDING, 0) + counts.pop(states.PARTIAL, 0)
        summary = [f"{n} {end}" for end, n in counts.items()]
        below = [f"{len(at_work)} running, {open_ones - len(at_work)} waiting", *summary]
        table = [self._describe(name) + self._newest(name) for name in at_work[:MOST_ROWS]]
        if len(at_work) > MOST_ROWS:
            table.append(f"... and {len(at_work) - MOST_ROWS} more")
        if self.drawn:
            sys.stderr.write(f"\x1b[{self.drawn}A\x1b[J")
        block = [*table, ", ".join(below)]
        sys.stderr.write("".join(f"{line}\n" for line in [*lines, *block]))
        sys.stderr.flush()
        self.drawn = len(block)

    def _newest(self, name: str) -> str:
        rows = self.sweep.rows(name)
        if not rows:
            return "  starting"
        row = rows[-1]
        error = 100 * row["top1_error"]
        return f"  epoch {row['epoch']:.2f}  {row['split']} error {error:.2f} %"
