"""Runs that are killed, stopped or damaged end as if nothing had happened."""

import contextlib
import errno
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.errors import UsageError
from lenet_alexnet.runs import integrity, lock, metrics
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.runtime import backend, signals
from lenet_alexnet.training.evaluation import Evaluator
from lenet_alexnet.training.single_run import SingleRun
from tests.helpers import damage, faults
from tests.helpers.processes import wait_for
from tests.helpers.signals_sent import PHASES, send

slow = pytest.mark.slow
TERM, INT, USR1, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP


def call(kind, workdir):
    if kind == "sweep":  # Its workers do what is observed here.
        return faults.start(kind, workdir).wait()
    return main(["lenet-alexnet", *faults.command(kind, workdir)])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a run of each kind, made on request."""
    done: dict[str, Path] = {}

    def get(kind):
        if kind not in done:
            done[kind] = tmp_path_factory.mktemp(kind)
            assert call(kind, done[kind]) == 0
        return done[kind]

    return get


def kill_at(lines, later, kind, workdir):
    """Starts a run and kills it `later` seconds after it has written `lines` lines."""
    run = faults.start(kind, workdir)
    ready = functools.partial(faults.lines if lines else faults.began, workdir)
    while ready() < max(lines, 1) and run.poll() is None:
        time.sleep(0.005)
    time.sleep(later)
    return faults.kill(run)


# Every part of a run is covered, including compilation and the last save.
STRETCHES = 20
FAST = {("lenet", 13)}
MOMENTS = [
    pytest.param(kind, i, marks=[] if (kind, i) in FAST else [slow])
    for kind in faults.KINDS
    for i in range(STRETCHES)
]


@pytest.mark.attack(
    "silent", "a run or sweep is killed at random moments", "it resumes to the same bits"
)
@pytest.mark.counted("kill -9, {kind}, ending in the same bits")
@pytest.mark.parametrize(("kind", "number"), MOMENTS)
def test_a_killed_run_ends_in_the_same_bits(undisturbed, tmp_path, kind, number):
    reference, moment = undisturbed(kind), random.Random(f"{kind} {number}")
    lines = faults.lines(reference) * number // (STRETCHES - 1)
    later = moment.uniform(0, 0.1 if lines else 1.5)
    attempts = (tmp_path / str(attempt) for attempt in range(9))
    workdir = next(path for path in attempts if kill_at(lines, later, kind, path))  # Not too late.
    assert call(kind, workdir) == 0
    assert faults.outcome(workdir) == faults.outcome(reference)


@slow
def test_a_sweep_that_is_stopped_says_so_and_the_same_command_goes_on(undisturbed, tmp_path):
    run = faults.start("sweep", tmp_path)
    wait_for(lambda: faults.lines(tmp_path) > 9, 300)
    run.send_signal(TERM)
    assert run.wait(60) == 75
    statuses = [read_json(p)["status"] for p in tmp_path.glob("trials/*/summary.json")]
    assert statuses == ["interrupted"] * 3
    assert call("sweep", tmp_path) == 0
    assert faults.outcome(tmp_path) == faults.outcome(undisturbed("sweep"))


@pytest.mark.attack("silent", "SIGTERM or SIGINT in any phase", "everything is saved, exit code 75")
@pytest.mark.counted("signals, {kind}, stopping and ending in the same bits")
@pytest.mark.parametrize(
    ("kind", "phase"),
    [
        pytest.param(kind, phase, marks=[] if phase == "compilation" else [slow])
        for kind, phases in PHASES.items()
        for phase in phases
    ],
)
def test_a_signal_in_any_phase_saves_and_the_run_goes_on(
    undisturbed, tmp_path, monkeypatch, kind, phase, capsys
):
    reference = undisturbed(kind)
    *place, number, at_call, steps = PHASES[kind][phase]
    send(monkeypatch, *place, number, at_call)
    assert call(kind, tmp_path) == 75
    monkeypatch.undo()
    err = capsys.readouterr().err
    assert f"{signal.Signals(number).name}: saving and stopping" in err
    assert err.splitlines()[-1].startswith("stopped at step")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert summary["step"] in steps
    assert integrity.saved(tmp_path / "checkpoints")[0].step == summary["step"]
    assert call(kind, tmp_path) == 0
    assert f"resuming at step {summary['step']}" in capsys.readouterr().err
    assert faults.outcome(tmp_path) == faults.outcome(reference)


@contextlib.contextmanager
def start_script(script, *arguments):
    """A process that runs `script`; it ends with the block, in any case."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.attack(
    "hangs", "a second signal while a long call is under way", "the process ends at once"
)
def test_the_first_signal_is_answered_and_the_second_exits_amid_a_long_call():
    """A long call outside Python, like a compilation."""
    script = (
        "import hashlib; from lenet_alexnet.runtime import signals\n"
        "with signals.catch():\n"
        "    print('ready', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
    )
    with start_script(script) as process:
        process.stdout.readline()
        process.send_signal(TERM)
        assert process.stderr.readline() == "\n"
        assert "saving and stopping" in process.stderr.readline()
        process.send_signal(INT)
        assert process.wait(20) == 128 + INT


CATCH = (
    "import sys, time; from lenet_alexnet.runtime import signals\n"
    "with signals.catch() as asked:\n"
    "    print('ready', flush=True)\n"
    "    while not asked(): time.sleep(0.01)\n"
    "    time.sleep(1); print('saved', flush=True)"
)


@pytest.mark.attack(
    "silent", "the session ends: SIGHUP, twice", "everything is saved, exit code 75"
)
def test_a_session_that_ends_sends_sighup_twice_and_what_is_saved_is_saved():
    with start_script(CATCH) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(HUP)
        assert process.stderr.readline() == "\n"
        process.send_signal(HUP)
        assert process.stdout.readline() == "saved\n"
        assert process.wait(20) == 0


@pytest.mark.attack("hangs", "SIGHUP under nohup", "the run trains to its end")
def test_under_nohup_sighup_is_nothing(monkeypatch):
    before = signal.signal(HUP, signal.SIG_IGN)
    try:
        with signals.catch() as asked:
            os.kill(os.getpid(), HUP)
            time.sleep(0.1)
            assert not asked()
        assert signal.getsignal(HUP) == signal.SIG_IGN
    finally:
        signal.signal(HUP, before)


# One write per line: unbuffered (PYTHONUNBUFFERED), print writes a line's end by
# itself, and two processes' lines would mix.
HOLD = (
    "import os, pathlib, sys, time; from lenet_alexnet.runs import lock\n"
    "with lock.hold(pathlib.Path(sys.argv[1])):\n"
    "    {}os.write(1, b'%d\\n' % os.getpid())\n"
    "    time.sleep(60)"
)


@pytest.mark.attack("silent", "a second run in the same folder", "one line names the owner")
def test_a_second_run_is_refused_with_the_owner(tmp_path, capsys):
    with start_script(HOLD.format(""), tmp_path) as owner:
        owner.stdout.readline()
        assert call("lenet", tmp_path) == 2
        err = capsys.readouterr().err
        assert f"in use by process {owner.pid} on host {os.uname().nodename} since 2" in err
        assert err.count("\n") == 1
    # Killed, as in a crash or a reboot: nothing needs cleaning up.
    with lock.hold(tmp_path):
        pass


def test_a_worker_that_outlives_its_run_does_not_keep_the_folder(tmp_path):
    with start_script(HOLD.format("os.fork(); "), tmp_path) as owner:
        # Both have written, so the worker is past its first actions after the fork.
        pids = {int(owner.stdout.readline()) for _ in range(2)}
        (worker,) = pids - {owner.pid}
        try:
            with pytest.raises(UsageError, match="in use"), lock.hold(tmp_path):
                pass
            owner.kill()
            owner.wait()
            with lock.hold(tmp_path):
                pass
            os.kill(worker, 0)  # It was there all the time.
        finally:
            os.kill(worker, signal.SIGKILL)


@pytest.mark.attack("silent", "a damaged checkpoint", "the one before it is used, to the same bits")
@pytest.mark.counted("damaged checkpoints, recovering to the same bits")
@pytest.mark.parametrize("harm", damage.KINDS)
@pytest.mark.slow
def test_a_run_goes_on_from_before_a_damaged_checkpoint(
    undisturbed, tmp_path, monkeypatch, harm, capsys
):
    """Stopped at an evaluation, so that the checkpoint has every file there is."""
    reference = undisturbed("photos")
    send(monkeypatch, Evaluator, "__call__", TERM, 2)
    assert call("photos", tmp_path) == 75
    monkeypatch.undo()
    newest, before = integrity.saved(tmp_path / "checkpoints")[:2]
    damage.KINDS[harm](newest.folder)
    assert call("photos", tmp_path) == 0
    err = capsys.readouterr().err
    assert f"the checkpoint of step {newest.step} is damaged" in err
    assert f"resuming at step {before.step}" in err
    shutil.rmtree(tmp_path / "checkpoints" / f"damaged-{newest.step}")
    assert faults.outcome(tmp_path) == faults.outcome(reference)


@pytest.mark.attack(
    "one line", "the disk is full while a run trains", "one line; the run resumes later"
)
@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_one_line_and_it_goes_on_later(
    undisturbed, tmp_path, monkeypatch, capsys
):
    reference = undisturbed("lenet")
    write = metrics.MetricsLog.write

    def full(log, row):
        if row["step"] == 50:
            raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")
        write(log, row)

    monkeypatch.setattr(metrics.MetricsLog, "write", full)
    assert call("lenet", tmp_path) == 1
    monkeypatch.undo()
    assert "error: the run cannot continue: [Errno 28]" in capsys.readouterr().err.splitlines()[-1]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert "No space left" in summary["error"]
    assert call("lenet", tmp_path) == 0
    assert faults.outcome(tmp_path) == faults.outcome(reference)


def test_what_no_one_foresaw_is_in_the_summary(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory\nand much more")

    monkeypatch.setattr(SingleRun, "_evaluate", fail)
    assert call("lenet", tmp_path) == 1  # test_unexpected.py tests that it is one line.
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["status"], summary["error"]) == ("failed", "out of memory")
    assert summary["step"] == 40


def test_deterministic_sets_the_flag_in_time_or_fails(monkeypatch):
    script = (
        "from lenet_alexnet.runtime import backend; import os; backend.set_up(deterministic=True)\n"
        "import jax; print(os.environ['XLA_FLAGS'], jax.numpy.ones(3).sum())"
    )
    environment = os.environ | {"XLA_FLAGS": "--xla_cpu_enable_fast_math=false"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert done.stdout == f"--xla_cpu_enable_fast_math=false {backend.DETERMINISTIC} 3.0\n"
    monkeypatch.setenv("XLA_FLAGS", "")
    with pytest.raises(UsageError, match="too late"):
        backend.set_up(deterministic=True)
