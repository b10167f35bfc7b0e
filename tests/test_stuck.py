"""Processes that are alive but stuck, and runs of which one process ends."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lenet_alexnet.runtime import backend, heartbeat
from lenet_alexnet.runtime.stuck import judge
from lenet_alexnet.sweep.local import LocalExecutor
from lenet_alexnet.sweep.trials import Sweep
from tests.helpers import ROOT, faults, stuck_trials
from tests.helpers.processes import wait_for
from tests.helpers.sleeping_reader import PAUSE, PAUSES

STOP, CONT, KILL = signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL


@contextlib.contextmanager
def watched(folder, *whats):
    """Watched processes that beat; they end with the block, in any case."""
    with contextlib.ExitStack() as stack:
        found = []
        for index, what in enumerate(whats):
            arguments = [str(folder), str(index), str(len(whats)), what]
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.helpers.watched_program", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
            found.append(stack.enter_context(process))
            stack.callback(process.kill)
        for process in found:
            assert process.stdout.readline() == "ready\n"
        yield found


def act(process):
    """Lets a process do what it was started for."""
    process.stdin.write("x")
    process.stdin.flush()


def ends(processes):
    """The exit codes, and the lines on stderr."""
    with ThreadPoolExecutor(len(processes)) as pool:
        errs = [*pool.map(lambda process: process.communicate(timeout=60)[1], processes)]
    return [process.returncode for process in processes], errs


@pytest.mark.attack(
    "hangs", "SIGSTOP, and no SIGCONT", "its watcher ends it: one line, exit code 75"
)
def test_a_process_that_is_stopped_is_ended_with_its_name_and_stack(tmp_path):
    with watched(tmp_path, "none") as (process,):
        process.send_signal(STOP)
        codes, (err,) = ends([process])
    assert codes == [75]
    (line,) = err.splitlines()
    assert line.startswith(f"stuck: process 0 on {os.uname().nodename} (pid {process.pid}), ")
    assert "stopped by a signal; run the same command again" in line
    assert "in train" in (tmp_path / "stuck_0.txt").read_text()


@pytest.mark.attack("hangs", "native code that never returns Python's lock", "its watcher ends it")
@pytest.mark.parametrize("what", ["sleep", "hold"])
def test_a_process_that_waits_for_ever_is_ended(tmp_path, what):
    """Also where native code holds Python's lock."""
    with watched(tmp_path, what) as (process,):
        act(process)
        codes, (err,) = ends([process])
    assert codes == [75]
    assert ", waiting for data at step " in err
    assert re.search(": no progress for [23] s; run the same command again", err)
    assert "in act" in (tmp_path / "stuck_0.txt").read_text()


def test_a_long_save_and_a_suspended_job_are_not_stuck(tmp_path):
    with watched(tmp_path, "save") as (process,):
        (watcher,) = children(process)
        for number in (STOP, CONT):
            os.kill(watcher, number)
            process.send_signal(number)
            time.sleep(4 if number == STOP else 0)
        act(process)
        assert process.stdout.readline() == "did it\n"
        assert process.poll() is None


@pytest.mark.attack(
    "hangs",
    "a reader of one of two processes sleeps",
    "both end with exit code 75; its number and phase are named",
)
def test_of_two_processes_the_one_that_is_behind_is_named(tmp_path):
    with watched(tmp_path, "none", "sleep") as processes:
        act(processes[1])
        codes, errs = ends(processes)
    assert codes == [75, 75]
    for err in errs:
        assert err.startswith(
            f"stuck: process 1 on {os.uname().nodename} (pid {processes[1].pid}),"
        )
        assert "waiting for data at step" in err
        assert err.count("\n") == 1


@pytest.mark.attack(
    "hangs", "one of two processes is stopped", "both end with exit code 75; its number is named"
)
@pytest.mark.parametrize("victim", [0, 1])
def test_of_two_processes_the_one_that_is_stopped_is_named(tmp_path, victim):
    with watched(tmp_path, "none", "none") as processes:
        processes[victim].send_signal(STOP)
        codes, errs = ends(processes)
    assert codes == [75, 75]
    for err in errs:
        assert f"stuck: process {victim} on" in err
        assert "stopped by a signal" in err


@pytest.mark.attack(
    "hangs", "one of two processes is killed", "the other ends within seconds, with exit code 75"
)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_ends_the_other_at_once(tmp_path, victim):
    with watched(tmp_path, "none", "none") as processes:
        processes[victim].kill()
        begin = time.monotonic()
        codes, errs = ends(processes)
        assert time.monotonic() - begin < 15
    assert codes[victim] == -KILL
    assert codes[1 - victim] == 75
    assert errs[1 - victim].startswith(f"lost: process {victim} on {os.uname().nodename}")


@pytest.mark.attack(
    "hangs", "one of two processes is killed with its watcher", "the other ends, with exit code 75"
)
def test_a_process_that_is_killed_with_its_watcher_ends_the_other(tmp_path):
    with watched(tmp_path, "none", "none") as processes:
        for pid in (*children(processes[1]), processes[1].pid):
            os.kill(pid, KILL)
        codes, errs = ends(processes)
    assert codes == [75, -KILL]
    assert "lost: process 1 on" in errs[0]


def test_a_process_that_fails_is_named_with_the_reason(tmp_path):
    with watched(tmp_path, "none", "fail") as processes:
        act(processes[1])
        codes, errs = ends(processes)
    assert codes == [1, 1]
    assert errs == ["error: process 1 failed: no such file\n", "error: process 1: no such file\n"]


def test_where_an_exchange_fails_the_process_that_ended_is_named(tmp_path):
    """The other's error, which came first, is only what followed."""
    with watched(tmp_path, "none", "lose") as processes:
        processes[0].send_signal(STOP)
        act(processes[1])
        codes, errs = ends(processes)
    assert codes == [75, 75]
    assert "stuck: process 0 on" in errs[1]


@pytest.mark.parametrize(
    ("last", "status"),
    [
        ("stuck: process 0 on x", ("failed", "exit code 75; stuck: process 0 on x")),
        ("stopped at step 3, saved: run the same command again", ("pending", "")),
    ],
)
def test_a_trial_whose_worker_is_stuck_has_failed(tmp_path, last, status):
    sweep = Sweep(tmp_path)
    sweep.folder("trial").mkdir(parents=True)
    sweep.log_file("trial").parent.mkdir()
    sweep.log_file("trial").write_text(f"compiling\n{last}\n")
    how = {"fail_fast": False, "allow_other_bits": False, "stuck_after": 7}
    LocalExecutor(sweep, jobs=1, **how)._ended(["trial"], 75)
    assert sweep.status("trial") == status


TRIALS = [
    pytest.param(kind, number, marks=pytest.mark.slow)
    for kind in stuck_trials.KINDS
    for number in range(20)
]


@pytest.mark.counted("runs of two processes that end together: {kind}")
@pytest.mark.parametrize(("kind", "number"), TRIALS)
def test_a_run_of_which_one_process_gets_stuck_or_is_killed_ends(tmp_path, kind, number):
    """With the right process named, within a minute, and with its checkpoints whole."""
    trial = stuck_trials.trial(kind, number, tmp_path)
    assert trial.good, trial


@pytest.mark.slow
def test_a_save_that_pauses_for_half_a_minute_ends_no_run(tmp_path):
    processes = stuck_trials.start(stuck_trials.LINEAR, tmp_path / "w", 2, victim=0)
    try:
        wait_for(lambda: faults.lines(tmp_path / "w") >= 3, 300)
        processes[0].send_signal(PAUSE)
        begin, lines = time.monotonic(), faults.lines(tmp_path / "w")
        wait_for(lambda: time.monotonic() - begin > PAUSES, 2 * PAUSES)
        # A save comes every line: at most two were written before this one.
        assert faults.lines(tmp_path / "w") <= lines + 2
        wait_for(lambda: faults.lines(tmp_path / "w") > lines + 3, 60)
        assert [process.poll() for process in processes] == [None, None]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def children(process):
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        return [int(word) for word in file.read().split()]


EXCHANGE = """
import sys, time
from pathlib import Path
from lenet_alexnet.runtime import heartbeat, watch

with watch.watching(65, Path(sys.argv[1])):
    import jax
    import numpy as np

    def exchange(x):
        late = jax.lax.axis_index("device") == 1
        wait = lambda: jax.pure_callback(lambda: time.sleep(1000), jax.typeof(x), vmap_method=None)
        return jax.lax.psum(jax.lax.cond(late, wait, lambda: x), "device")

    mesh = jax.make_mesh((2,), ("device",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.P("device")
    options = {"in_specs": spec, "out_specs": spec, "check_vma": False}
    step = jax.jit(jax.shard_map(exchange, mesh=mesh, **options))
    with heartbeat.during("exchange"):
        step(np.ones(2, np.float32)).block_until_ready()
"""


@pytest.mark.attack(
    "hangs", "a simulated device never joins an exchange", "the process ends with exit code 75"
)
@pytest.mark.slow
def test_an_exchange_that_a_simulated_device_does_not_join_is_ended(tmp_path):
    """XLA would abort after 60 seconds, with another exit code: see docs/devices.md."""
    done = subprocess.run(
        [sys.executable, "-c", EXCHANGE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": f"{backend.SIMULATE}=2"},
    )
    assert done.returncode == 75, done.stderr
    assert "stuck: process 0 on" in done.stderr
    assert ", exchange at step 0: no progress for" in done.stderr


def state(process, count, quiet, *, allowed=10, stopped=False):
    return {
        "process": process,
        "count": count,
        "quiet": quiet,
        "allowed": allowed,
        "stopped": stopped,
    }


def named(*states):
    return [one["process"] for one in judge(list(states))]


def test_a_process_that_waits_for_others_is_not_late():
    assert named(state(0, 7, 99), state(1, 6, 9)) == []
    assert named(state(0, 7, 9), state(1, 6, 11)) == [1]
    assert named(state(0, 6, 11), state(1, 6, 11)) == [0, 1]
    assert named(state(0, 6, 99), state(1, 6, 9)) == []  # It has just arrived.


def test_a_process_that_is_stopped_is_the_cause_also_where_it_is_ahead():
    assert named(state(0, 6, 11), state(1, 7, 9, stopped=True)) == [1]
    assert named(state(0, 6, 9), state(1, 7, 11, stopped=True)) == [1]
    assert named(state(0, 6, 9), state(1, 7, 9, stopped=True)) == []


def test_phases_are_in_the_page():
    page = bytearray(heartbeat.PAGE.size)
    heartbeat.show_in(page)
    count, *_ = heartbeat.PAGE.unpack(page)
    with heartbeat.during("saving"):
        heartbeat.beat(12)
        found = heartbeat.PAGE.unpack(page)
        allowance = heartbeat.ALLOWANCES["saving"]
        assert found == (count + 2, 12, allowance, b"saving".ljust(32, b"\0"))
    assert heartbeat.PAGE.unpack(page)[0] == count + 3
