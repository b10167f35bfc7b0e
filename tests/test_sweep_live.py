"""What is shown while a sweep runs: the table, lines for a log file, the time left."""

import io
import json
import re
import sys
import time
from types import SimpleNamespace

import pytest

from lenet_alexnet.sweep import live, progress
from lenet_alexnet.sweep.live import Live, sparkline
from lenet_alexnet.sweep.progress import TrialProgress, seconds_left
from lenet_alexnet.sweep.trials import Sweep
from tests.helpers.sweep_files import fake, trials_of

NOW = 1_000_000.0


def running(sweep, trial, errors, *, pace=2.0):
    """A trial of 60 steps that has come to an evaluation every ten steps, `pace` seconds each."""
    folder = sweep.folder(trial.id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    rows = [
        {
            "step": 10 * i,
            "epoch": 10 * i * 20 / 300,
            "split": "test",
            "loss": 1.0,
            "top1_error": error,
            "time": NOW + 10 * i * pace,
        }
        for i, error in enumerate(errors, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The time is 60 seconds after `NOW`."""
    monkeypatch.setattr(progress.time, "time", lambda: NOW + 60)


def test_the_time_left_of_a_trial_of_a_sweep(sweep):
    (trial,) = trials_of([{"seed": 1}])
    one = TrialProgress(sweep, trial, "top1_error", NOW)
    assert (one.share(), one.seconds_left()) == (0.0, None)
    running(sweep, trial, [0.9])
    one.read()
    assert one.share() == pytest.approx(1 / 6)
    assert one.seconds_left() is None  # One row gives no speed.
    running(sweep, trial, [0.9, 0.8, 0.7])
    one.read()
    assert one.curve() == [0.9, 0.8, 0.7]
    # 30 of 60 steps at 2 seconds each, the last of them just now.
    assert one.seconds_left() == pytest.approx(60)
    later = TrialProgress(sweep, trial, "top1_error", NOW + 50)
    assert later.seconds_left() is None  # Rows of an earlier launch give no speed.


def test_the_time_left_of_a_sweep(sweep):
    trials = trials_of([{"train.duration": f"{steps} steps"} for steps in (60, 120)])
    every = [TrialProgress(sweep, trial, "top1_error", NOW) for trial in trials]
    assert seconds_left(every, 10.0, 1.0) is None
    running(sweep, trials[0], [0.9, 0.8, 0.7])
    every[0].read()
    # 30 steps took 10 seconds; 30 and 120 are left, or half a run of each.
    assert seconds_left(every, 10.0, 1.0) == pytest.approx(50)
    assert seconds_left(every, 10.0, 0.5) == pytest.approx(20)
    sweep.end(trials[0].id, "failed", "it broke")
    every[0].read()
    assert seconds_left(every, 10.0, 1.0) == pytest.approx(40)
    # What was done before this launch gives no speed.
    again = [TrialProgress(sweep, trial, "top1_error", NOW) for trial in trials]
    assert seconds_left(again, 10.0, 1.0) is None


def test_a_sparkline_of_a_sweep_has_the_height_of_its_values():
    assert sparkline([]) == ""
    assert sparkline([3.0, 3.0]) == "▁▁"
    assert sparkline([0.0, 1.0, 0.5]) == "▁█▅"
    many = sparkline([float(i) for i in range(100)])
    assert len(many) == 12
    assert list(many) == sorted(many)
    assert (many[0], many[-1]) == ("▁", "█")


def test_a_log_file_gets_lines_of_a_sweep(sweep, capsys, monkeypatch):
    trials = trials_of([{"seed": seed} for seed in range(3)])
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(live.time, "monotonic", lambda: clock.now)
    shown = Live(sweep, trials, metric="top1_error", until=1.0)
    fake(sweep, trials[0], 0.25)
    sweep.folder(trials[1].id).mkdir(parents=True)
    sweep.end(trials[1].id, "failed", "exit code 1; no space left")
    program = [trials[0].id, trials[2].id]  # one program, of which one trial has ended
    shown.watch(program)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"[1/3] {trials[0].id} seed=0  completed test error 25.00 %"
    assert lines[1] == f"[2/3] {trials[1].id} seed=1  failed exit code 1; no space left"
    clock.now += 59
    shown.watch(program)
    assert capsys.readouterr().err == ""
    clock.now += 2
    shown.watch(program)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("1 at work, 0 waiting, 1 completed, 1 failed")
    assert line.endswith(f"best: {trials[0].id}, test error 25.00 %")
    shown.finish()
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_a_table_of_a_sweep(sweep, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("LINES", "20")
    monkeypatch.setenv("TERM", "xterm")
    trials = trials_of([{"seed": seed, "learning_rate": 0.5} for seed in range(14)])
    fake(sweep, trials[0], 0.25)
    sweep.folder(trials[1].id).mkdir(parents=True)
    sweep.end(trials[1].id, "failed", "exit code 1; [red]no space left")
    for trial in trials[2:12]:
        running(sweep, trial, [0.9, 0.5, 0.3])
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    shown = Live(sweep, trials, metric="top1_error", until=1.0)
    for trial in trials[2:12]:  # They come to step 40 in this launch.
        running(sweep, trial, [0.9, 0.5, 0.3, 0.2])
    shown.watch([trial.id for trial in trials[2:12]])
    fake(sweep, trials[2], 0.1)
    shown.finish()
    assert sys.stderr is terminal
    text = terminal.getvalue()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.replace("\r", "\n")).splitlines()
    (row, *_) = (line for line in lines if line.startswith(trials[3].id) and "at work" in line)
    for cell in ("seed=3", "at work", "2.67", "60 s", "20.00 %", "█▄▂▁"):
        assert cell in row, row
    assert "... and 4 more at work" in text  # The frame takes 14 lines of 20.
    assert f"{trials[1].id}: exit code 1; [red]no space left" in text
    assert "10 at work, 2 waiting, 1 completed, 1 failed; about" in text
    assert f"best: {trials[2].id}, test error 20.00 %" in text
    assert f"[3/14] {trials[2].id}" in text
    assert all(len(line) <= 110 for line in lines)


def test_looking_at_a_sweep_of_a_thousand_trials_is_cheap(sweep, capsys):
    trials = trials_of([{"seed": seed} for seed in range(1000)])
    for trial in trials[:500]:
        fake(sweep, trial, 0.25)
    shown = Live(sweep, trials, metric="top1_error", until=1.0)
    began = time.process_time()
    shown.watch([trial.id for trial in trials[500:564]])
    took = time.process_time() - began
    assert took < 2
    assert shown.summary(64).startswith("64 at work, 436 waiting, 500 completed")
    shown.watch([])
    assert capsys.readouterr().err == ""
