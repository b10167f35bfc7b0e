"""Workers on this machine: a group uses the whole machine, a single trial a part of it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lenet_alexnet.errors import Interrupted
from lenet_alexnet.runtime import storage, watch
from lenet_alexnet.runtime.backend import own_cores
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep import worker
from lenet_alexnet.sweep.trials import Sweep

Job = list[str]  # the ids of the trials of one process


class Place(NamedTuple):
    """The part of the machine that a worker may use."""

    cores: frozenset[int]
    environment: dict[str, str]


def places(jobs: int) -> list[Place]:
    """`jobs` places; for 0, one for each GPU, or without GPUs one for each core."""
    cores = own_cores()
    gpus = visible_gpus()
    count = jobs or len(gpus) or len(cores)
    result = []
    for i in range(count):
        mine = frozenset(cores[i::count]) or frozenset([cores[i % len(cores)]])
        environment = {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {}
        if gpus and count > len(gpus):
            part = 0.9 / -(-count // len(gpus))
            environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{part:.2f}"
        result.append(Place(mine, environment))
    return result


def visible_gpus() -> list[str]:
    """The names of the GPUs that JAX would see, without starting JAX."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name for name in listed.split(",") if name]
    if os.environ.get("JAX_PLATFORMS") == "cpu" or shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return [str(i) for i, _ in enumerate(done.stdout.splitlines())] if not done.returncode else []


class LocalExecutor:
    """A queue of workers, as many at once as there are places."""

    def __init__(
        self,
        sweep: Sweep,
        *,
        jobs: int,
        fail_fast: bool,
        allow_other_bits: bool,
        stuck_after: float,
    ) -> None:
        self.sweep, self.fail_fast = sweep, fail_fast
        self.how: dict[str, Any] = {
            "allow_other_bits": allow_other_bits,
            "stuck_after": stuck_after,
        }
        self.places, self.jobs = places(jobs), jobs
        self.running: dict[int, tuple[Job, subprocess.Popen]] = {}

    def run(
        self,
        jobs: Sequence[Job],
        until: float,
        *,
        stop_requested: Callable[[], bool],
        watch: Callable[[list[str]], None],
    ) -> None:
        """Runs all jobs; `watch` is called often, with the ids of the running trials.

        Raises:
          Interrupted: a stop was requested; all workers have saved.
        """
        whole = Place(frozenset(own_cores()), {})
        alone = [job for job in jobs if len(job) == 1]
        for group in (job for job in jobs if len(job) > 1):
            # One trial may have made its group fail: each then gets a separate process.
            alone += self._drain([group], [whole], until, stop_requested, watch)
        self._drain(alone, self.places, until, stop_requested, watch)

    def _drain(
        self,
        queue: list[Job],
        places: list[Place],
        until: float,
        stop_requested: Callable[[], bool],
        watch: Callable[[list[str]], None],
    ) -> list[Job]:
        """Runs the queue over the places; returns the trials of groups that failed, one by one."""
        queue, again = list(queue), []
        try:
            while queue or self.running:
                free = [i for i in range(len(places)) if i not in self.running]
                while queue and free and not stop_requested():
                    job = self._left(queue.pop(0))
                    if not job:
                        continue
                    place = free.pop(0)
                    self.running[place] = (job, self._start(job, until, places[place]))
                for place, (job, process) in list(self.running.items()):
                    if process.poll() is not None:
                        del self.running[place]
                        _hang_up(process)
                        again += self._ended(job, process.returncode)
                        if self.fail_fast and self._broken(job):
                            queue.clear()
                            self._stop()
                watch([name for job, _ in self.running.values() for name in job])
                if stop_requested():
                    self._stop()
                    raise Interrupted("stopped, all saved: run the same command again")
                time.sleep(0.1)
        finally:
            self._stop()
        return again

    def _start(self, job: Job, until: float, place: Place) -> subprocess.Popen:
        mine = place.environment | {"LENET_ALEXNET_LAUNCHER": str(os.getpid())}
        with storage.open_here(self.sweep.log_file(job[0]), "a") as log:
            process = subprocess.Popen(
                worker.command(self.sweep.root, until, job, **self.how),
                stdin=subprocess.PIPE,  # closed when the launcher ends, see `worker`
                stdout=log,
                stderr=log,
                env=worker.environment() | mine,
                start_new_session=True,  # Ctrl-C reaches only the launcher, which passes it on
            )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, place.cores)
        return process

    def _ended(self, job: Job, code: int) -> list[Job]:
        """Records what a dead worker could not; returns the trials to run one by one."""
        open_ones = self._left(job)
        if code == 0 or not open_ones:
            return []
        if code == Interrupted.exit_code and not stuck(self.sweep, job):
            return []
        if len(job) > 1:
            print(
                f"a group of {len(job)} failed ({last_line(self.sweep, job)}): its trials "
                "continue one by one",
                file=sys.stderr,
                flush=True,
            )
            return [[name] for name in open_ones]
        by = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        status = states.KILLED if code < 0 else states.FAILED
        self.sweep.end(job[0], status, f"{by}; {last_line(self.sweep, job)}")
        return []

    def _left(self, job: Job) -> Job:
        """The trials of a job that have not ended: one may have been stopped in the queue."""
        return [name for name in job if self.sweep.status(name)[0] not in states.ENDED]

    def _broken(self, job: Job) -> bool:
        return any(self.sweep.status(name)[0] in states.BROKEN for name in job)

    def _stop(self) -> None:
        """Tells all workers to save and stop, and waits for them."""
        for _, process in self.running.values():
            process.terminate()
        for _, process in self.running.values():
            process.wait()
            _hang_up(process)
        self.running.clear()


def _hang_up(process: subprocess.Popen) -> None:
    assert process.stdin is not None
    process.stdin.close()


def last_line(sweep: Sweep, job: Job) -> str:
    """The last line of a worker's log, which has the error, if any."""
    lines = sweep.log_file(job[0]).read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else "no output"


def stuck(sweep: Sweep, job: Job) -> bool:
    """Whether a worker was ended because it made no progress, see `watch`."""
    return last_line(sweep, job).startswith(watch.STUCK)
