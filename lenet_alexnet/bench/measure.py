"""Rates of several subjects, measured in turns: other load on the machine affects all of them."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

MOST = 100_000  # units in one run


class Subject(NamedTuple):
    """Something with a rate.

    Attributes:
      name: of the table's row.
      run: does a number of units of work and waits for the end.
      amount: of one unit of work, in `unit`.
      unit: images (trained on), records (read), FLOP or bytes.
    """

    name: str
    run: Callable[[int], Any]
    amount: float
    unit: str = "images"


class Measured(NamedTuple):
    """A subject's runs of `units` units each, in the order of their timing."""

    subject: Subject
    units: int
    seconds: list[float]

    @property
    def rates(self) -> list[float]:
        """Of each run, in the subject's unit per second."""
        return [self.units * self.subject.amount / seconds for seconds in self.seconds]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the median, lowest and highest rate; amount and seconds of each run."""
        return {
            "name": self.subject.name,
            "unit": f"{self.subject.unit}/s",
            "rate": median(self.rates),
            "lowest": min(self.rates),
            "highest": max(self.rates),
            "amount": self.units * self.subject.amount,
            "seconds": self.seconds,
        }


def interleave(
    subjects: Sequence[Subject],
    *,
    repeats: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Measured]:
    """Times each subject `repeats` times, in the order A B C A B C ...

    Before that, each runs once to warm up (and compile), and once to find how many units take about
    `seconds`; neither counts.
    """
    found = [Measured(s, _units(s, seconds, clock), []) for s in subjects]
    for _ in range(repeats):
        for measured in found:
            start = clock()
            measured.subject.run(measured.units)
            measured.seconds.append(clock() - start)
    return found


def _units(subject: Subject, seconds: float, clock: Callable[[], float]) -> int:
    subject.run(1)
    start = clock()
    subject.run(1)
    return min(max(round(seconds / max(clock() - start, seconds / MOST)), 1), MOST)


def ratio(a: Measured, b: Measured) -> dict[str, float]:
    """How many times as fast as `b` `a` is, from pairs of neighbouring turns."""
    pairs = [x / y for x, y in zip(a.rates, b.rates, strict=True)]
    return {"median": median(pairs), "lowest": min(pairs), "highest": max(pairs)}
