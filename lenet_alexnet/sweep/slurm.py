"""Workers as Slurm job arrays through submitit: one task per trial, requeued after preemption."""

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lenet_alexnet.errors import Interrupted, LenetAlexnetError, UsageError
from lenet_alexnet.runs.directory import read_json, write_json
from lenet_alexnet.runtime import storage, watch
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep import worker
from lenet_alexnet.sweep.local import Job, last_line
from lenet_alexnet.sweep.trials import Sweep

POLL_SECONDS = 5.0


class Task:
    """A Slurm task: runs a worker; at the time limit the worker saves and the task is requeued."""

    def __init__(self, command: list[str], log: str) -> None:
        self.command, self.log = command, log
        self.process: subprocess.Popen | None = None

    def __call__(self) -> int:
        """Runs the worker and returns its exit code."""
        with storage.open_here(Path(self.log), "a") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=worker.environment()
            )
        return self.process.wait()

    def checkpoint(self) -> Any:
        """Called by submitit before the time limit and at preemption."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        return DelayedSubmission(Task(self.command, self.log))


class SlurmExecutor:
    """Submits jobs that are not in the queue yet, and waits until all have left it."""

    def __init__(
        self,
        sweep: Sweep,
        launch: Any,
        *,
        fail_fast: bool,
        allow_other_bits: bool,
        stuck_after: float,
    ) -> None:
        """Raises UsageError if submitit or Slurm's commands are missing."""
        if importlib.util.find_spec("submitit") is None:
            raise UsageError("--executor=slurm needs submitit: pip install 'lenet-alexnet[slurm]'")
        if shutil.which("sbatch") is None or shutil.which("squeue") is None:
            raise UsageError("--executor=slurm needs Slurm's sbatch and squeue: none on the PATH")
        import submitit

        self.sweep, self.fail_fast = sweep, fail_fast
        self.how: dict[str, Any] = {
            "allow_other_bits": allow_other_bits,
            "stuck_after": stuck_after,
        }
        self.submitit = submitit.AutoExecutor(
            folder=sweep.root / "slurm", cluster="slurm", slurm_max_num_timeout=launch.requeue
        )
        self.submitit.update_parameters(
            name="lenet-alexnet",
            timeout_min=launch.time_limit,
            cpus_per_task=launch.cpus_per_trial,
            slurm_array_parallelism=launch.parallel,
        )
        if launch.partition:
            self.submitit.update_parameters(slurm_partition=launch.partition)
        if launch.gpus_per_trial:
            self.submitit.update_parameters(gpus_per_node=launch.gpus_per_trial)

    def run(
        self,
        jobs: Sequence[Job],
        until: float,
        *,
        stop_requested: Callable[[], bool],
        watch: Callable[[list[str]], None],
    ) -> None:
        """Runs all jobs, and waits for those that an earlier launcher submitted.

        Raises:
          Interrupted: a stop was requested; submitted jobs continue.
        """
        queued = queue()
        waiting = {job[0]: name for job in jobs if (name := self._submitted(job)) in queued}
        fresh = [job for job in jobs if job[0] not in waiting]
        waiting |= self._submit(fresh, until)
        by_first = {job[0]: job for job in jobs}
        while waiting:
            queued = queue()
            for first, name in list(waiting.items()):
                if name not in queued:
                    del waiting[first]
                    self._ended(by_first[first])
                    if self.fail_fast and self.sweep.status(first)[0] in states.BROKEN:
                        self._cancel(waiting)
                        return
            watch([name for first in waiting for name in by_first[first]])
            if stop_requested():
                raise Interrupted("stopped watching; submitted jobs continue: run again to watch")
            if waiting:
                time.sleep(POLL_SECONDS)

    def _submit(self, jobs: Sequence[Job], until: float) -> dict[str, str]:
        if not jobs:
            return {}
        tasks = []
        for job in jobs:
            root = self.sweep.root.resolve()
            command = worker.command(root, until, job, **self.how)
            tasks.append(Task(command, str(self.sweep.log_file(job[0]).resolve())))
        try:
            with self.submitit.batch():  # one array
                submitted = [self.submitit.submit(task) for task in tasks]
        except Exception as error:  # submitit passes on the errors of sbatch.
            line = str(error).strip().split("\n")[0]
            raise LenetAlexnetError(f"sbatch refused the jobs: {line}") from error
        for job, task in zip(jobs, submitted, strict=True):
            write_json(self.sweep.folder(job[0]) / "slurm.json", {"job": task.job_id})
        return {job[0]: task.job_id for job, task in zip(jobs, submitted, strict=True)}

    def _submitted(self, job: Job) -> str:
        """The Slurm name of the task that an earlier launcher submitted for a job, or ''."""
        path = self.sweep.folder(job[0]) / "slurm.json"
        return read_json(path, "job", job=str)["job"] if path.exists() else ""

    def _ended(self, job: Job) -> None:
        """Records a task that left the queue without a result: it died or was cancelled."""
        for name in job:
            status = self.sweep.status(name)[0]
            if status == states.PARTIAL:
                if (last := last_line(self.sweep, job)).startswith(watch.STUCK):
                    self.sweep.end(name, states.FAILED, last)
            elif status == states.PENDING:
                self.sweep.end(name, states.KILLED, f"left the queue; see {self.sweep.root}/slurm")

    def _cancel(self, waiting: dict[str, str]) -> None:
        subprocess.run(["scancel", *waiting.values()], check=False, capture_output=True)


def queue() -> set[str]:
    """The names (array_task) of this user's tasks that wait or run.

    Raises:
      LenetAlexnetError: Slurm does not answer.
    """
    command = ["squeue", "--array", "--noheader", "--format=%i", f"--user={os.getuid()}"]
    for attempt in range(5):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return set(done.stdout.split())
        time.sleep(2.0**attempt)
    raise LenetAlexnetError(f"squeue fails: {done.stderr.strip()}")
