"""Sweeps that are steered: lists that change, trials stopped alone, the best ones run again."""

import io
import sys
from types import SimpleNamespace

import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.errors import Interrupted, UsageError
from lenet_alexnet.sweep import frame, load, runner, worker
from lenet_alexnet.sweep.local import LocalExecutor
from lenet_alexnet.sweep.trials import Sweep, stop
from lenet_alexnet.sweep.vmap import train_lanes
from lenet_alexnet.training import loop
from tests.helpers.sweep_files import fake, trials_of, write
from tests.helpers.tiny_configs import make_tiny_config

HELD_OUT = "--config.data.validation=train[250:300]"
LEARN_ON = "--config.data.train=train[:250]"
RATES = "def sweep():\n  return [{'learning_rate': r, 'seed': s} for r in %s for s in (0, 4)]"


def call(capsys, path, workdir, *more):
    code = main(["x", "sweep", f"--config={path}", f"--workdir={workdir}", *more])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


class Untrained:
    """An executor that writes what runs leave: errors that grow with the distance from 0.2."""

    started: list

    def __init__(self, sweep, **_):
        self.sweep = sweep

    def run(self, jobs, until, *, stop_requested, watch):
        for name in (name for job in jobs for name in job):
            self.started.append(name)
            trial = self.sweep.trial(name)
            rate = trial.overrides["optimizer.learning_rate"]
            error = abs(rate - 0.2) + trial.flat["seed"] / 1000
            fake(self.sweep, trial, error, test=0.9 - error)


@pytest.fixture
def started(monkeypatch):
    """The ids of the trials that were trained, by an executor that trains nothing."""
    monkeypatch.setattr(Untrained, "started", [], raising=False)
    monkeypatch.setattr(runner, "LocalExecutor", Untrained)
    return Untrained.started


def test_a_sweep_whose_list_changes_reports_what_differs(capsys, tmp_path, started):
    work = tmp_path / "w"
    path = write(tmp_path, RATES % "(0.1, 0.2)")
    code, _, err = call(capsys, path, work)
    assert code == 0, err
    assert "already ended" not in err
    assert len(started) == 4
    (first, *_) = Sweep(work).listed()
    (work / "trials" / first / "summary.json").unlink()
    (work / "trials" / first / "config.json").write_text("{}")
    write(tmp_path, RATES % "(0.1, 0.3, 0.4)")
    code, out, err = call(capsys, path, work)
    assert code == 0, err
    changes = "1 of 6 trials have already ended; resumed: 1; new: 4; "
    assert f"{changes}no longer in the list, kept on disk: 2\n" in err
    assert len(started) == 4 + 5
    assert " 0.2 " not in out
    listed = load_or_skip(work)
    assert listed["listed"].tolist() == [True] * 6 + [False] * 2
    assert listed["optimizer.learning_rate"].tolist()[-2:] == [0.2, 0.2]


def load_or_skip(folder):
    pytest.importorskip("pandas", reason="pip install 'lenet-alexnet[pandas]'")
    return load(folder)


def test_a_sweep_as_a_data_frame(capsys, tmp_path, started, monkeypatch):
    work = tmp_path / "w"
    call(capsys, write(tmp_path, RATES % "(0.1, 0.2)"), work, HELD_OUT, LEARN_ON)
    sweep = Sweep(work)
    broken = sweep.listed()[1]
    sweep.end(broken, "failed", "it broke")
    (work / "trials" / broken / "summary.json").unlink()
    table = load_or_skip(str(work))
    assert table["trial"].tolist() == sweep.listed()
    assert table["optimizer.learning_rate"].tolist() == [0.1, 0.1, 0.2, 0.2]
    assert table["seed"].tolist() == [0, 4, 0, 4]
    assert table["status"].tolist() == ["completed", "failed", "completed", "completed"]
    assert table["top1_error"].tolist()[2:] == [0.0, 0.004]
    assert table["test_top1_error"].tolist()[2:] == [0.9, 0.896]
    assert table["top1_error"].isna().tolist() == [False, True, False, False]
    assert table["seconds"].tolist()[0] == 2.0  # 8 seconds, side by side with 3 others
    assert table["error"].tolist()[1] == "it broke"
    assert all(
        (work / "trials" / name).samefile(path)
        for name, path in zip(table["trial"], table["path"], strict=True)
    )
    (work / "trials" / broken / "trial.json").write_text(
        (work / "trials" / sweep.listed()[0] / "trial.json").read_text()
    )
    with pytest.raises(UsageError, match="holds the trial"):
        load(work)


def test_a_data_frame_needs_pandas_and_a_sweep(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"lenet-alexnet\[pandas\]"):
        frame.load(tmp_path)
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace())
    with pytest.raises(UsageError, match="holds no sweep yet"):
        frame.load(tmp_path)


@pytest.mark.attack(
    "one line", "--stop-trial of a trial that ended or does not exist", "one line, exit code 2"
)
def test_one_trial_of_a_sweep_is_stopped(capsys, tmp_path, started):
    path, work = write(tmp_path, RATES % "(0.1, 0.2)"), tmp_path / "w"
    trials = trials_of([{"optimizer.learning_rate": 0.1, "seed": seed} for seed in (0, 4)])
    sweep = Sweep(work)
    for trial in trials:
        sweep.folder(trial.id).mkdir(parents=True)
        sweep.add(trial)
    code, out, _ = call(capsys, path, work, f"--stop-trial={trials[0].id}")
    assert (code, out) == (0, f"trial {trials[0].id} is stopped; it was pending\n")
    assert sweep.status(trials[0].id) == ("stopped", "as requested")
    for name, message in (
        (trials[0].id, "has already ended: stopped"),
        (trials[1].id[:-1] + "_", f"did you mean '{trials[1].id}'"),
    ):
        code, _, err = call(capsys, path, work, f"--stop-trial={name}")
        assert (code, err.count("\n")) == (2, 1)
        assert message in err
    assert not started
    code, out, err = call(capsys, path, work)
    assert code == 0, err
    assert trials[0].id not in started
    assert len(started) == 3
    assert "1 stopped" in out


def test_a_trial_that_is_stopped_while_it_waits_is_not_started(tmp_path, monkeypatch):
    sweep, trials = Sweep(tmp_path), trials_of([{"seed": seed} for seed in range(3)])
    executor = LocalExecutor(
        sweep, jobs=1, fail_fast=False, allow_other_bits=False, stuck_after=600
    )
    begun = []

    def start(job, until, place):
        begun.extend(job)
        if len(begun) == 1:
            stop(sweep, trials[1].id)
        fake(sweep, trials[[t.id for t in trials].index(job[0])], 0.1)
        return SimpleNamespace(
            poll=lambda: 0, returncode=0, stdin=io.BytesIO(), wait=lambda: 0, terminate=lambda: None
        )

    for trial in trials:
        sweep.folder(trial.id).mkdir(parents=True)
        sweep.add(trial)
    monkeypatch.setattr(executor, "_start", start)
    executor.run(
        [[trial.id] for trial in trials],
        1.0,
        stop_requested=lambda: False,
        watch=lambda names: None,
    )
    assert begun == [trials[0].id, trials[2].id]


@pytest.mark.parametrize("until", [1.0, 0.5])
def test_a_worker_of_a_sweep_stops_with_its_trial(tmp_path, monkeypatch, until):
    sweep, (trial,) = Sweep(tmp_path), trials_of([{"seed": 1}])
    sweep.folder(trial.id).mkdir(parents=True)
    sweep.add(trial)

    def train(config, folder, *, stop_requested, **_):
        assert not stop_requested()
        stop(sweep, trial.id)
        assert stop_requested()
        raise Interrupted("saved")

    monkeypatch.setattr(loop, "train_and_evaluate", train)
    with pytest.raises(Interrupted):
        worker._one(sweep, trial.id, until, lambda: False, False)


@pytest.mark.slow
def test_one_lane_of_a_sweep_is_stopped_and_resumes(tmp_path):
    lanes = []
    for seed in range(2):
        lanes.append(make_tiny_config())
        with lanes[-1].unlocked():
            lanes[-1].seed = seed
    folders = [tmp_path / str(seed) for seed in range(2)]
    calls = []

    def look():
        calls.append(None)
        if len(calls) == 6:
            (folders[1] / "end.json").write_text('{"status": "stopped", "error": ""}')
        return False

    summaries = train_lanes(lanes, folders, stop_requested=look)
    assert [one["status"] for one in summaries] == ["completed", "interrupted"]
    lines = [(folder / "metrics.jsonl").read_text().count("\n") for folder in folders]
    assert 0 < lines[1] < lines[0]
    with pytest.raises(Interrupted):  # No lane is left.
        train_lanes(lanes[1:], folders[1:])
    (folders[1] / "end.json").unlink()
    (summary,) = train_lanes(lanes[1:], folders[1:])
    assert summary["status"] == "completed"
    assert (folders[1] / "metrics.jsonl").read_text().count("\n") == lines[0]


def test_the_best_of_a_sweep_run_again_on_all_training_data(capsys, tmp_path, started):
    path, work = write(tmp_path, RATES % "(0.1, 0.2, 0.25, 0.4)"), tmp_path / "w"
    split = (HELD_OUT, LEARN_ON)
    assert call(capsys, path, work, *split)[0] == 0
    del started[:]
    code, out, err = call(capsys, path, work, *split, "--top=2", "--again=3")
    assert code == 0, err
    assert len(started) == 6
    again = Sweep(work / "again")
    trials = [again.trial(name) for name in again.listed()]
    # By the validation error; by the test error, 0.4 would be the best.
    rates = [trial.overrides["optimizer.learning_rate"] for trial in trials]
    assert rates == [0.2] * 3 + [0.25] * 3
    assert [trial.flat["seed"] for trial in trials] == [5, 6, 7] * 2
    for trial in trials:
        assert trial.flat["data.train"] == "train[:250]+train[250:300]"
        assert (trial.flat["data.validation"], trial.flat["eval.every"]) == ("", "0 steps")
        assert set(trial.overrides) == {"optimizer.learning_rate", "seed"}
    # Test errors 0.895, 0.894, 0.893: mean 0.894, std 0.001; t(2) = 4.303, so +- 0.00248.
    # The validation errors of the seeds 0 and 4 are 0 and 0.004.
    line = out.splitlines()[1].split()
    assert line == [
        "1",
        "optimizer.learning_rate=0.2",
        "0.2",
        "89.4",
        "0.1",
        "3",
        "89.15",
        "..",
        "89.65",
    ]
    assert out.splitlines()[2].split()[:3] == ["2", "optimizer.learning_rate=0.25", "5.2"]
    del started[:]
    assert call(capsys, path, work, *split, "--top=2", "--again=3")[1] == out
    assert started == []  # It resumes.
    code, _, err = call(capsys, path, work, *split, "--top=1", "--again=3")
    assert (code, err.count("\n")) == (2, 1)
    assert "holds reruns of other settings or seeds" in err


def test_settings_of_a_sweep_over_data_are_run_again_on_their_own_data(capsys, tmp_path, started):
    body = (
        "def sweep():\n  return [{'learning_rate': 0.2, 'data.train': t, 'data.validation': v}"
        " for t, v in (('train[:100]', 'train[100:150]'), ('train[:200]', 'train[200:300]'))]"
    )
    path, work = write(tmp_path, body), tmp_path / "w"
    assert call(capsys, path, work, HELD_OUT)[0] == 0
    code, _, err = call(capsys, path, work, HELD_OUT, "--top=2", "--again=1")
    assert code == 0, err
    again = Sweep(work / "again")
    merged = {again.trial(name).flat["data.train"] for name in again.listed()}
    assert merged == {"train[:100]+train[100:150]", "train[:200]+train[200:300]"}
    assert not any(again.trial(name).flat["data.validation"] for name in again.listed())


@pytest.mark.attack(
    "one line", "--top without validation, test data, trials or --again", "one line, exit code 2"
)
def test_mistakes_with_the_best_of_a_sweep_are_one_line(capsys, tmp_path, started):
    path, work = write(tmp_path, RATES % "(0.1, 0.2)"), tmp_path / "w"
    split = (HELD_OUT, LEARN_ON)
    for flags, message in (
        (["--top=2"], "--top and --again need each other"),
        (["--again=2"], "--top and --again need each other"),
        (["--top=2", "--again=2", "--report"], "no --dry-run and no --report"),
        (["--top=2", "--again=2", "--plan"], "not for --top"),
        (["--top=2", "--again=2"], "--top needs a validation split"),
        ([*split, "--config.data.test=", "--top=2", "--again=2"], "data.test is empty"),
        ([*split, "--top=2", "--again=2"], "4 of its trials are still to run"),
    ):
        code, _, err = call(capsys, path, work, *flags)
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err
        assert not work.exists()
    assert call(capsys, path, work, *split)[0] == 0
    code, _, err = call(capsys, path, work, *split, "--top=3", "--again=2")
    assert (code, err.count("\n")) == (2, 1)
    assert "only 2 settings have completed" in err
    assert not (work / "again").exists()
