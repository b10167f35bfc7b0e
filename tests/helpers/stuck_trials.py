"""Trials of runs of two processes in which one gets stuck or is killed, at random moments.

Run on a quiet machine: python -m tests.helpers.stuck_trials [N] [KIND ...]. It prints a table. On
a busy one, set STUCK_AFTER=40.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import portpicker

from lenet_alexnet.runs import integrity
from tests.helpers import ROOT, faults
from tests.helpers.sleeping_reader import SLEEP

# Seconds. Starting and compiling may take six times as long, but not on a busy machine.
STUCK_AFTER = int(os.environ.get("STUCK_AFTER", "15"))
WITHIN = 60  # seconds, for all processes to end
LINEAR = ["train", f"--config={ROOT}/tests/helpers/linear.py"]
PHOTOS = [flag for flag in faults.PHOTOS if not flag.startswith("--config.train.duration")]
KINDS = {  # the run, what happens to the victim
    "SIGSTOP": (LINEAR, signal.SIGSTOP),
    "SIGKILL": (LINEAR, signal.SIGKILL),
    "sleeping reader": (PHOTOS, SLEEP),
}


class Trial(NamedTuple):
    """What happened in a trial."""

    kind: str
    number: int
    seconds: float
    codes: list[int | None]
    victim: int
    errors: list[str]
    whole: bool  # whether there are checkpoints, all of them whole

    @property
    def lines(self) -> list[str]:
        """What was reported of a process that is stuck or lost."""
        lines = [line for error in self.errors for line in error.splitlines()]
        return [line for line in lines if line.startswith(("stuck: ", "lost: "))]

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        codes = [75] * len(self.codes)
        if self.kind == "SIGKILL":
            codes[self.victim] = -signal.SIGKILL
        named = {"SIGKILL": "lost"}.get(self.kind, "stuck")
        right = f"{named}: process {self.victim} on {os.uname().nodename}"
        phase = "waiting for data at step" if self.kind == "sleeping reader" else " at step "
        return (
            self.seconds < WITHIN
            and self.codes == codes
            and bool(self.lines)
            and all(line.startswith(right) and phase in line for line in self.lines)
            and self.whole
        )


def start(run: list[str], workdir: Path, count: int, victim: int) -> list[subprocess.Popen]:
    """The processes of a run of 100,000 steps; the victim's reader sleeps after a signal."""
    flags = [*run, f"--workdir={workdir}", f"--stuck-after={STUCK_AFTER}"]
    flags.append("--config.train.duration=100000 steps")
    if run is PHOTOS:
        flags.append(f"--config.data.data_dir={faults.photos()}")
    many = [f"--coordinator=127.0.0.1:{portpicker.pick_unused_port()}", f"--num_processes={count}"]
    found = []
    for index in range(count):
        module = "tests.helpers.sleeping_reader" if index == victim else "lenet_alexnet"
        mine = [*many, f"--process_id={index}"] if count > 1 else []
        with (workdir.parent / f"{workdir.name}_{index}.err").open("w") as errors:
            found.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, *flags, *mine],
                    cwd=ROOT,
                    env=os.environ | {"PYTHONPATH": str(ROOT), "CXX": "none"},
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
            )
    return found


def trial(kind: str, number: int, folder: Path, *, count: int = 2) -> Trial:
    """One trial, in a workdir in `folder`."""
    run, what = KINDS[kind]
    moment = random.Random(f"{kind} {number}")
    victim, workdir = moment.randrange(count), folder / f"{number}"
    processes = start(run, workdir, count, victim)
    try:
        while faults.lines(workdir) < 3 or not integrity.saved(workdir / "checkpoints"):
            if any(process.poll() is not None for process in processes):
                raise RuntimeError((folder / f"{number}_{victim}.err").read_text())
            time.sleep(0.05)
        time.sleep(moment.uniform(0, 2))
        processes[victim].send_signal(what)
        begin = time.monotonic()
        codes: list[int | None] = []
        for process in processes:
            left = max(begin + 2 * WITHIN - time.monotonic(), 0.1)
            try:
                codes.append(process.wait(left))
            except subprocess.TimeoutExpired:
                codes.append(None)
        seconds = time.monotonic() - begin
    finally:
        for process in processes:
            process.kill()
            process.wait()
    integrity.remove_unfinished(workdir / "checkpoints")
    saved = integrity.saved(workdir / "checkpoints")
    whole = bool(saved) and not any(integrity.problem(one.folder) for one in saved)
    errors = [(folder / f"{number}_{index}.err").read_text() for index in range(count)]
    return Trial(kind, number, seconds, codes, victim, errors, whole)


def main(arguments: list[str]) -> int:
    """Prints the table; returns 1 if a trial failed."""
    count = int(arguments[0]) if arguments else 20
    bad = 0
    print("| what | trials | as they should be | seconds to the end |\n| --- | --- | --- | --- |")
    for kind in arguments[1:] or KINDS:
        folder = Path(tempfile.mkdtemp(prefix="stuck-"))
        trials = [trial(kind, number, folder) for number in range(count)]
        good = [one for one in trials if one.good]
        times = sorted(one.seconds for one in trials)
        middle = times[len(times) // 2]
        print(f"| {kind} | {count} | {len(good)} | {middle:.1f} (to {times[-1]:.1f}) |", flush=True)
        for one in trials:
            if not one.good:
                print(one, file=sys.stderr)
        bad += count - len(good)
        shutil.rmtree(folder)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
