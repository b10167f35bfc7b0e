"""Distinct programs, and the process that times each of them."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lenet_alexnet.errors import DataError, Interrupted, LenetAlexnetError, UsageError
from lenet_alexnet.plan.found import FOUND, TASK, Probe, Timings
from lenet_alexnet.runs.directory import write_json
from lenet_alexnet.sweep import worker
from lenet_alexnet.sweep.local import Place

WHOLE = Place(frozenset(), {})  # the whole machine


class Program(NamedTuple):
    """Runs that one process trains.

    Attributes:
      configs: of the runs.
      side_by_side: whether they are one program, as a sweep trains them.
      each_core_a_device: whether JAX has a device for each core.
      most: a single run uses as many devices as divide its batch.
      place: the cores and GPUs that the process may use.
    """

    configs: Sequence[Any]
    side_by_side: bool = False
    each_core_a_device: bool = False
    most: bool = False
    place: Place = WHOLE


Stop = Callable[[], bool]


def time_it(program: Program, stop_requested: Stop = lambda: False) -> Probe:
    """Times a program in a separate process, as its runs would be: with the same cores and start.

    Raises:
      Interrupted: `stop_requested` became true.
      UsageError, DataError, LenetAlexnetError: the process failed, as training would.
    """
    with started(program) as result:
        return result(stop_requested)


@contextlib.contextmanager
def started(program: Program) -> Iterator[Callable[[Stop], Probe]]:
    """As `time_it`, in two parts: the process starts and compiles; it times when it is asked."""
    with tempfile.TemporaryDirectory(prefix="lenet_alexnet_plan_") as place:
        folder = Path(place)
        task = program._asdict() | {"configs": [c.to_dict() for c in program.configs]}
        del task["place"]
        write_json(folder / TASK, task)
        with (folder / "log").open("w") as log, _process(program.place, folder, log) as process:
            yield partial(_result, process, folder)


@contextlib.contextmanager
def _process(place: Place, folder: Path, log: Any) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "lenet_alexnet.plan.probe", str(folder)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=worker.environment() | place.environment,
        start_new_session=True,  # Ctrl-C reaches only this process.
    )
    try:
        if place.cores and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, place.cores)
        yield process
    finally:
        process.kill()  # It has nothing to save.
        process.communicate()


def _result(process: subprocess.Popen, folder: Path, stop_requested: Stop) -> Probe:
    assert process.stdin is not None
    process.stdin.close()  # This starts the timing.
    while process.poll() is None:
        if stop_requested():
            raise Interrupted("stopped: a plan leaves nothing behind")
        time.sleep(0.05)
    if process.returncode:
        lines = (folder / "log").read_text(errors="replace").strip().splitlines()
        _fail(process.returncode, lines)
    found = json.loads((folder / FOUND).read_text())
    timings = Timings(**found.pop("timings"))
    return Probe(timings=timings, **found)


def _fail(code: int, lines: Sequence[str]) -> None:
    """Raises the error of a process that failed."""
    last = lines[-1].removeprefix("error: ") if lines else "no output"
    if code == UsageError.exit_code:
        raise UsageError(last)
    if code < 0:
        raise LenetAlexnetError(
            f"the process that timed a run was killed by signal {-code}: {last}"
        )
    raise DataError(last)
