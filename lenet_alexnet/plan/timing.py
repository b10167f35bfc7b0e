"""Times a few steps, evaluations and saves of a program, as `schedule.follow` runs them."""

import dataclasses
import time
from statistics import fmean
from typing import Any, Protocol

from lenet_alexnet.data import Dataset, InMemory
from lenet_alexnet.runs.wall_time import EVALUATION, SAVING, WallTime
from lenet_alexnet.training.experiment import Experiment
from lenet_alexnet.training.schedule import Schedule, Trainee, follow

SECONDS = 1.2  # of timed steps
CHUNK = 0.3  # seconds of a chunk, at least a step
FEWEST = 3  # chunks
ENOUGH = 1.0  # seconds of saves, after which none is timed again
BATCHES = 4  # of an evaluation that are timed


class Timed(Trainee, Protocol):
    """One run, or many side by side, with a record of their time."""

    times: WallTime
    state: Any

    def finish(self) -> None:
        """The last evaluation, on every split, and the last checkpoint."""


def shorten(e: Experiment, batch_size: int) -> Experiment:
    """The experiment with only the first examples of each evaluated split."""
    count = BATCHES * batch_size
    return dataclasses.replace(
        e, eval_data={name: _Head.of(data, count) for name, data in e.eval_data.items()}
    )


class _Head:
    """The first examples of a data set that is read from disk."""

    def __init__(self, data: Dataset, count: int) -> None:
        self._data, self._count = data, count

    @staticmethod
    def of(data: Dataset, count: int) -> Any:
        """The first `count` examples, or all."""
        if len(data) <= count:
            return data
        if data.arrays is None:
            return _Head(data, count)
        images, labels = data.arrays
        return InMemory(images[:count], labels[:count], data.class_names)

    def __len__(self) -> int:
        return self._count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)


class Stopwatch:
    """Runs steps of a trainee and times them."""

    def __init__(self, trainee: Timed, schedule: Schedule) -> None:
        self._trainee, self._total = trainee, schedule.total
        # Evaluations, saves and estimates of the curvature are timed apart.
        self._schedule = dataclasses.replace(schedule, evaluate=0, save=0, refresh=0)

    def run(self, steps: int) -> float:
        """Seconds of that many steps, at most a whole run."""
        trainee = self._trainee
        if trainee.step + steps > self._total:  # Data from disk end there.
            trainee.step = 0
        end = dataclasses.replace(self._schedule, total=trainee.step + steps)
        start = time.perf_counter()
        follow(end, trainee, end.total)
        return time.perf_counter() - start

    def chunk(self) -> int:
        """How many steps take about `CHUNK` seconds; the program is warm after this."""
        self.run(1)
        steps, seconds = 1, self.run(1)
        while seconds < CHUNK / 2 and steps < self._total:
            steps = min(max(2 * steps, round(steps * CHUNK / seconds)), 20 * steps, self._total)
            seconds = self.run(steps)
        return steps


def measure(
    trainee: Timed, e: Experiment, *, saves_once: bool
) -> tuple[list[float], dict[str, float]]:
    """Seconds of a step in each chunk, and of the rest: entries of `Timings`.

    Args:
      trainee: at its start.
      e: its experiment, shortened.
      saves_once: whether the trainee saves no step twice. Saves that take long are not repeated
        then: the last one is another one and its end.
    """
    schedule = e.schedule
    watch = Stopwatch(trainee, schedule)
    refresh = 0.0
    if schedule.refresh:
        trainee.refresh_curvature()
        start = time.perf_counter()
        trainee.refresh_curvature()
        refresh = time.perf_counter() - start
    count = watch.chunk()
    chunks: list[float] = []
    waited, start = trainee.times.waited, time.perf_counter()
    while len(chunks) < FEWEST or time.perf_counter() - start < SECONDS:
        chunks.append(watch.run(count) / count)
    spent = time.perf_counter() - start
    data_wait = (trainee.times.waited - waited) / spent
    saves, behind = list[float](), min(2 * count, schedule.total)
    while len(saves) < 2 and sum(saves) < ENOUGH:
        before = trainee.times.parts()[SAVING]
        trainee.evaluate_and_save(evaluate=bool(schedule.evaluate and e.curve))
        blocked = trainee.times.parts()[SAVING] - before
        # It is written while the next steps run, on CPUs by the same cores.
        saves.append(blocked + max(0.0, watch.run(behind) - behind * fmean(chunks)))
    one = saves_once and len(saves) == 1
    if one:  # Back at the step of that save: `finish` waits for it, and starts no other.
        trainee.step -= behind
    else:
        watch.run(1)
    parts = trainee.times.parts()
    trainee.finish()
    ended, evaluated = trainee.times.parts(), sum(len(data) for data in e.eval_data.values())
    return chunks, {
        "data_wait": data_wait,
        "refresh": refresh,
        "example": (ended[EVALUATION] - parts[EVALUATION]) / max(evaluated, 1),
        "save": saves[-1],
        "first_save": max(0.0, saves[0] - saves[-1]),
        "last": ended[SAVING] - parts[SAVING] + (saves[0] if one else 0.0),
    }
