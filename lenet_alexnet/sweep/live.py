"""What is shown while a sweep runs: a table on a terminal; elsewhere lines for a log file."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lenet_alexnet.runtime.console import duration
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.expand import Trial
from lenet_alexnet.sweep.progress import TrialProgress, best_first, seconds_left
from lenet_alexnet.sweep.trials import Sweep

SECONDS, BUSY = 1.0, 0.05  # between two looks; at most this share of the launcher's time is looking
LOG_SECONDS = 60.0  # between two lines on the whole sweep in a log file
MOST_BEST, MOST_BROKEN, MOST_ROWS = 3, 3, 40
FRAME = 14  # lines of a screen that the trials at work do not get
BARS = "▁▂▃▄▅▆▇█"


class Live:
    """Shows the trials at work, the best ones, the broken ones, and counts of all.

    Args:
      sweep: its folder.
      trials: those of this launch.
      metric: what trials are ranked by.
      until: the share of a run up to which they train now.
    """

    def __init__(self, sweep: Sweep, trials: Sequence[Trial], *, metric: str, until: float) -> None:
        self._metric, self._until = metric, until
        self._began, self._next, self._next_line = time.monotonic(), 0.0, LOG_SECONDS
        now = time.time()
        self.trials = {trial.id: TrialProgress(sweep, trial, metric, now) for trial in trials}
        self._terminal = sys.stderr.isatty()
        self._screen: Any = None  # a `rich.live.Live`, from the first look on

    def watch(self, at_work: list[str]) -> None:
        """Shows changes; called often, with the ids of the trials at work."""
        began = time.monotonic()
        if began < self._next:
            return
        lines = [line for one in self.trials.values() if (line := self._ended(one))]
        # A program of several trials writes their ends one by one.
        working = [one for name in at_work if not (one := self.trials[name]).ended]
        if self._terminal:
            self._redraw(lines, working)
        else:
            if began - self._began >= self._next_line:
                self._next_line += LOG_SECONDS
                lines.append(self.summary(len(working)))
            for line in lines:
                print(line, file=sys.stderr, flush=True)
        self._next = began + max(SECONDS, (time.monotonic() - began) / BUSY)

    def finish(self) -> None:
        """Shows ends that were not shown yet; the table stays as it is then."""
        self._next = 0.0
        self.watch([])
        if self._screen is not None:
            self._screen.stop()

    def _ended(self, one: TrialProgress) -> str:
        """A line if the trial has ended since the last look, else ""."""
        if one.ended:
            return ""
        one.read()
        if not one.ended:
            return ""
        ended = sum(other.ended for other in self.trials.values())
        values = one.curve() if one.status == states.COMPLETED else []
        shown = f" {one.split} {self.value(values[-1])}" if values else ""
        where = f"[{ended}/{len(self.trials)}] {one.trial.id} {overrides(one.trial)}"
        return f"{where}  {one.status}{shown} {one.error}".rstrip()

    def value(self, value: float) -> str:
        """A value of the metric, with its name."""
        if self._metric == "top1_error":
            return f"error {100 * value:.2f} %"
        return f"{self._metric} {value:.4g}"

    def summary(self, working: int) -> str:
        """The counts, the time left and the best trial, in one line."""
        counts = Counter(one.status for one in self.trials.values())
        waiting = counts.pop(states.PENDING, 0) + counts.pop(states.PARTIAL, 0) - working
        parts = [f"{working} at work, {waiting} waiting"]
        parts += [f"{n} {status}" for status, n in counts.items()]
        line = ", ".join(parts)
        left = seconds_left(list(self.trials.values()), time.monotonic() - self._began, self._until)
        if working and left is not None:
            line += f"; about {duration(left)} left"
        for best in best_first(list(self.trials.values()))[:1]:
            line += f"; best: {best.trial.id}, {best.split} {self.value(best.curve()[-1])}"
        return line

    def _redraw(self, lines: Sequence[str], working: Sequence[TrialProgress]) -> None:
        from rich.console import Console
        from rich.live import Live as Screen
        from rich.text import Text

        if self._screen is None:
            self._screen = Screen(console=Console(file=sys.stderr), auto_refresh=False)
            self._screen.start()
        for line in lines:
            self._screen.console.print(Text(line))
        rows = max(1, min(MOST_ROWS, self._screen.console.height - FRAME))
        self._screen.update(self.table(working, rows), refresh=True)

    def table(self, working: Sequence[TrialProgress], most: int) -> Any:
        """The trials at work (at most `most`), the best and the broken ones, as rich shows them."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, justify in (("trial", "left"), ("settings", "left"), ("status", "left")):
            table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore
        for name in ("epoch", "left", self._metric):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("curve", no_wrap=True)
        every = list(self.trials.values())
        best = [one for one in best_first(every) if one not in working][:MOST_BEST]
        broken = [one for one in every if one.status in states.BROKEN][-MOST_BROKEN:]
        for group in (working[:most], best, broken):
            for one in group:
                table.add_row(*(Text(cell) for cell in self._cells(one, one in working)))
            table.add_section()
        below = [Text(f"... and {len(working) - most} more at work")] if working[most:] else []
        errors = [Text(f"{one.trial.id}: {one.error}", overflow="ellipsis") for one in broken]
        for text in (*below, *errors):
            text.no_wrap = True
        return Group(table, *below, *errors, Text(self.summary(len(working))))

    def _cells(self, one: TrialProgress, works: bool) -> list[str]:
        curve, rows, left = one.curve(), one.rows, one.seconds_left() if works else None
        status = ("at work" if rows else "starting") if works else one.status
        return [
            one.trial.id,
            overrides(one.trial),
            status,
            f"{rows[-1]['epoch']:.2f}" if rows else "",
            "" if left is None else duration(left),
            self.value(curve[-1]).partition(" ")[2] if curve else "",
            sparkline(curve),
        ]


def overrides(trial: Trial) -> str:
    """A trial's overrides by the last parts of their names."""
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in trial.overrides.items())


def sparkline(values: Sequence[float], width: int = 12) -> str:
    """One character for each value, or for each of `width` places among them, by its height."""
    if not values:
        return ""
    places = min(width, len(values))
    shown = [values[round(i * (len(values) - 1) / max(places - 1, 1))] for i in range(places)]
    low, high = min(shown), max(shown)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round(scale * (value - low))] for value in shown)
