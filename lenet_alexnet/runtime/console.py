"""What a person watches: time, speed, a loss that does not move."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

STARVED = 0.2  # The share of the time spent waiting for data that is worth a warning.


class Stopwatch:
    """Time spent in training, laps at log lines, pauses for evaluation and saving."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._mark, self._step = 0.0, 0

    def start(self, step: int) -> None:
        """Training begins at `step`."""
        self._mark, self._step, self._lap = time.monotonic(), step, 0.0

    def lap(self, step: int) -> float:
        """Steps per second since the last lap."""
        self._tick()
        speed = (step - self._step) / max(self._lap, 1e-9)
        self._step, self._lap = step, 0.0
        return speed

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time in here is not training."""
        self._tick()
        yield
        self._mark = time.monotonic()

    def _tick(self) -> None:
        now = time.monotonic()
        self._lap += now - self._mark
        self.seconds += now - self._mark
        self._mark = now


class Flat:
    """Says once, in plain words, that nothing is being learnt."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self._guessing = 1 - 1 / len(class_names)
        self._said = False

    def check(self, row: dict[str, Any]) -> None:
        """After an epoch, training errors within 3 % of those of guessing mean a flat loss."""
        if not self._said and row["epoch"] >= 1 and row["top1_error"] > 0.97 * self._guessing:
            self._said = True
            say(
                f"warning: the loss is flat at {row['loss']:.3f}: after epoch {row['epoch']:.1f} "
                f"the error is {100 * row['top1_error']:.0f} %, as by guessing; "
                "learning rate or initialisation?"
            )


class Starving:
    """The share of the time in which the device waits for data from disk; too much is said once."""

    def __init__(self, from_disk: bool) -> None:
        self._from_disk, self._said = from_disk, False
        self._waited, self._seconds = 0.0, 0.0

    def share(self, waited: float, seconds: float) -> dict[str, float]:
        """{"data_wait": share since the last call}, or nothing where the data are in memory."""
        if not self._from_disk:
            return {}
        share = (waited - self._waited) / max(seconds - self._seconds, 1e-9)
        self._waited, self._seconds = waited, seconds
        if share > STARVED and not self._said:
            self._said = True
            say(
                f"warning: the device waits for data {100 * share:.0f} % of the time: a faster "
                "disk, more cores, --store=raw, or data.stream=False if they fit in memory"
            )
        return {"data_wait": round(min(share, 1.0), 4)}


def first_process() -> bool:
    """Whether this is the process that writes and speaks for all."""
    import jax

    return jax.process_index() == 0


def say(text: str) -> None:
    """A line for the person who watches; of many processes the first one speaks."""
    if first_process():
        print(text, file=sys.stderr, flush=True)


class Progress(contextlib.AbstractContextManager):
    """A bar on a terminal, a plain line per record elsewhere."""

    def __init__(self, total_steps: int, step: int, steps_per_epoch: float) -> None:
        from tqdm import tqdm

        self._steps_per_epoch = steps_per_epoch
        self._total, self._first, self._start = total_steps, step, time.monotonic()
        self._bar = tqdm(
            total=total_steps,
            initial=step,
            disable=not (sys.stderr.isatty() and first_process()),
            file=sys.stderr,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}% |{bar:10}| {desc} [{elapsed}<{remaining}]",
        )

    def advance(self, step: int) -> None:
        """So many steps are completed."""
        if not self._bar.disable:
            self._bar.update(step - self._bar.n)

    def show(self, row: dict[str, Any]) -> None:
        """The newest record: in the bar for training, as a line that stays for an evaluation."""
        train = row["split"] == "train"
        text = (
            f"epoch {row['epoch']:6.2f}  {row['split']:<10}  loss {row['loss']:.4f}  "
            f"error {100 * row['top1_error']:5.2f} %"
        )
        if train:
            text += f"  {row['images_per_second']:,.0f} img/s"
        if self._bar.disable:
            say(f"{text}{self._time_left(row['step'])}")
        elif train:
            self._bar.set_description_str(text, refresh=True)
        else:
            self._bar.write(text, file=sys.stderr)

    def _time_left(self, step: int) -> str:
        if step <= self._first or step >= self._total:
            return ""
        rate = (time.monotonic() - self._start) / (step - self._first)
        return f"  {rate * (self._total - step):.0f} s left"

    def __exit__(self, *_: object) -> None:
        self._bar.close()
