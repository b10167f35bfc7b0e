"""Sweeps: what they expand to, how trials are grouped, mistakes, damaged files."""

import contextlib
import os
import time

import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.cli import main
from lenet_alexnet.errors import LenetAlexnetError, UsageError
from lenet_alexnet.plots import is_log
from lenet_alexnet.sweep import (
    choice,
    grid,
    integers,
    log_uniform,
    product,
    random,
    seeds,
    uniform,
    zip_,
)
from lenet_alexnet.sweep.expand import expand
from lenet_alexnet.sweep.groups import group, signature
from lenet_alexnet.sweep.trials import Sweep
from tests.helpers import ROOT
from tests.helpers.sweep_files import fake, trials_of, write
from tests.helpers.tiny_configs import make_tiny_config


def call(capsys, path, workdir, *more):
    code = main(["x", "sweep", f"--config={path}", f"--workdir={workdir}", *more])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_helpers():
    assert grid({"a.b": [1, 2]}, seed=[3, 4]) == [
        {"a.b": 1, "seed": 3},
        {"a.b": 1, "seed": 4},
        {"a.b": 2, "seed": 3},
        {"a.b": 2, "seed": 4},
    ]
    assert zip_(a=[1, 2], b=[3, 4]) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert product(zip_(a=[1, 2]), seeds(2, 5))[1] == {"a": 1, "seed": 6}
    with pytest.raises(UsageError, match="a: 1, b: 2"):
        zip_(a=[1], b=[1, 2])
    with pytest.raises(UsageError, match="'seed' is in two"):
        product(seeds(1), seeds(1))


def test_random_draws_the_same_each_time_within_its_ranges():
    axes = {"a": log_uniform(1e-4, 1), "b": uniform(2, 3), "c": integers(1, 3), "d": choice("xy")}
    drawn = random(200, 7, axes)
    assert drawn[:50] == random(50, 7, axes)
    assert drawn != random(200, 8, axes)
    below = sum(d["a"] < 1e-2 for d in drawn)
    assert 70 < below < 130  # Half of the logarithm's range.
    assert all(1e-4 <= d["a"] <= 1 and 2 <= d["b"] <= 3 for d in drawn)
    assert {d["c"] for d in drawn} == {1, 2, 3}
    assert {d["d"] for d in drawn} == {"x", "y"}
    assert is_log([d["a"] for d in drawn])
    assert not is_log([d["b"] for d in drawn])
    assert not is_log([0.0, 0.1, 1.0])
    with pytest.raises(UsageError, match="0 < low < high"):
        log_uniform(0, 1)


def test_trials_are_named_by_their_config():
    a, b = trials_of([{"learning_rate": 0.5}, {"seed": 3}])
    assert a.overrides == {"optimizer.learning_rate": 0.5}
    assert a.config.optimizer.learning_rate == 0.5
    assert (a.id, b.id) == (configs.config_hash(a.config), configs.config_hash(b.config))
    with a.config.unlocked():
        a.config.launch.time_limit = 5
    assert configs.config_hash(a.config) == a.id


def test_groups_share_what_a_program_can_carry():
    trials = trials_of(
        [
            {"seed": 0},
            {"seed": 1, "learning_rate": 1.0, "weight_decay": 0.0, "data.distort.shift": 0.0},
            {"activation": "relu"},
            {"train.batch_size": 10},
            {"seed": 2},
            {f"data.distort.{name}": 0.0 for name in ("shift", "scale", "rotation", "shear")},
        ]
    )
    together = group(trials, most=64, steps=lambda _: set())
    assert [[trials.index(t) for t in members] for members in together] == [
        [0, 1, 4],
        [2],
        [3],
        [5],
    ]
    together = group(trials[:2] + trials[4:5], most=2, steps=lambda _: set())
    assert [len(members) for members in together] == [2, 1]
    saved = {trials[0].id: {15, 30}, trials[1].id: {30, 45}}
    together = group(trials[:2] + trials[4:5], most=9, steps=lambda t: saved.get(t.id, set()))
    assert [len(members) for members in together] == [2, 1]  # One trial has not begun.
    saved = {trials[0].id: {15}}  # Killed between the first saves: they start again together.
    together = group(trials[:2] + trials[4:5], most=9, steps=lambda t: saved.get(t.id, set()))
    assert [len(members) for members in together] == [3]


def test_momentum_zero_has_no_velocity_and_its_own_program():
    config = make_tiny_config()
    with config.unlocked():
        config.optimizer = {"name": "sgd", "momentum": 0.9, "learning_rate": 0.1}
    other = config.copy_and_resolve_references()
    other.optimizer.momentum = 0.5
    assert signature(config) == signature(other)
    other.optimizer.momentum = 0.0
    assert signature(config) != signature(other)


@pytest.mark.attack(
    "one line", "sweep() fails, yields nothing or unknown entries", "one line, exit code 2"
)
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "has no sweep()"),
        ("def sweep():\n  return []", "yields nothing"),
        ("def sweep():\n  return [{'learning_rat': 1}]", "did you mean 'optimizer.learning_rate'"),
        ("def sweep():\n  return [{'name': 'x'}]", "may be"),
        ("def sweep():\n  return [{'seed': 'x'}]", "seed = 'x', not of type int"),
        ("def sweep():\n  return [3]", "must yield dicts"),
        ("def sweep():\n  return 1 / 0", "ZeroDivisionError"),
    ],
)
def test_mistakes_in_a_sweep_are_one_line(capsys, tmp_path, body, message):
    code, _, err = call(capsys, write(tmp_path, body), tmp_path / "w")
    assert (code, err.count("\n")) == (2, 1), err
    assert message in err


def test_streamed_photos_have_no_lanes(capsys, tmp_path):
    body = (
        "plain = get_config\ndef get_config():\n  c = plain().unlock()\n  c.data.stream = True\n"
        "  return c.lock()\ndef sweep():\n  return [{'seed': 1}, {'seed': 2}]"
    )
    path = write(tmp_path, body)
    code, _, err = call(capsys, path, tmp_path / "w", "--executor=vmap")
    assert (code, err.count("\n")) == (2, 1), err
    assert "streamed photos" in err
    code, out, _ = call(capsys, path, tmp_path / "v", "--dry-run")
    assert code == 0
    assert "as a process each: 2 trials" in out


@pytest.mark.attack(
    "silent", "search() exits, never ends, or returns no overrides", "one line, exit code 2"
)
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise SystemExit(0)", "SystemExit"),
        ("return 1 / 0", "ZeroDivisionError"),
        ("return 3", "must yield dicts"),
        ("return {'learning_rate': float('nan')}", "no finite number"),
        ("return {'learning_rate': print}", "not a number, string or list"),
        ("return {1: 2}", "which is not a string"),
        ("return itertools.count()", "more than 100,000"),
    ],
)
def test_mistakes_in_a_search_are_one_line(capsys, tmp_path, body, message):
    path = write(tmp_path, f"import itertools\ndef search(trial):\n  {body}")
    held_out = "--config.data.validation=train[:9]"
    code, _, err = call(capsys, path, tmp_path / "w", "--search=1", held_out)
    assert (code, err.count("\n")) == (2, 1), err
    assert message in err


@pytest.mark.attack(
    "foreign",
    "optuna.log is damaged, a FIFO, or a link to a file of the user",
    "one line; the file is as it was",
)
@pytest.mark.parametrize("kind", ["garbage", "half a line", "link", "pipe"])
def test_a_damaged_log_of_a_search_is_one_line(capsys, tmp_path, kind):
    path = write(tmp_path, "def search(trial):\n  return {'seed': 1}")
    log, mine = tmp_path / "w" / "optuna.log", tmp_path / "mine"
    log.parent.mkdir()
    mine.write_text("precious")
    if kind == "link":
        log.symlink_to(mine)
    elif kind == "pipe":
        os.mkfifo(log)
    else:
        log.write_text("garbage\n{}\n" if kind == "garbage" else '{"op_code": 0}\n')
    held_out = "--config.data.validation=train[:9]"
    code, _, err = call(capsys, path, tmp_path / "w", "--search=1", held_out)
    assert (code, err.count("\n")) == (2, 1), err
    assert f"cannot read '{log}'" in err
    assert mine.read_text() == "precious"


def test_other_mistakes(capsys, tmp_path, monkeypatch):
    path = write(tmp_path, "def sweep():\n  return [{'seed': 1}, {'activation': 'relu'}]")
    work = tmp_path / "w"
    with contextlib.closing(Sweep(work)) as sweep:
        sweep.open(configs.load(path).get_config(), path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    monkeypatch.setenv("PATH", str(tmp_path))
    for workdir, flags, message in [
        (work, ["--config.train.batch_size=3"], "another sweep (train.batch_size: 20 -> 3)"),
        (run, [], "holds a run, not a sweep"),
        (tmp_path / "n", ["--executor=slrum"], "auto|vmap|local|slurm"),
        (tmp_path / "n", ["--executor=slurm"], "slurm"),
        (tmp_path / "n", ["--executor=vmap"], "no two trials"),
        (tmp_path / "n", ["--halving=1"], "at least 2"),
        (tmp_path / "none", ["--report"], "holds no sweep"),
        (tmp_path / "m", ["--search=3"], "has no search"),
        (tmp_path / "m", ["--halving=3"], "--halving needs a validation split"),
    ]:
        code, _, err = call(capsys, path, workdir, *flags)
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err


@pytest.mark.parametrize(
    ("name", "count", "groups"),
    [("lenet5_lr_seeds", 32, 1), ("lenet5_1998_sizes", 12, 4), ("lenet5_search", 24, 1)],
)
def test_the_sweeps_of_the_configs(name, count, groups):
    path = str(ROOT / "configs" / "sweeps" / f"{name}.py")
    module = configs.load(path)
    trials, repeated = expand(module, module.get_config(), path)
    assert (len(trials), repeated) == (count, 0)
    assert len(group(trials, most=64, steps=lambda _: set())) == groups


@pytest.mark.attack("silent", "two launchers of one sweep", "one line for the second")
def test_a_second_launcher_is_refused(capsys, tmp_path):
    path = write(tmp_path, "def sweep():\n  return [{'seed': 1}]")
    with contextlib.closing(Sweep(tmp_path / "w")) as first:
        first.open(configs.load(path).get_config(), path)
        code, _, err = call(capsys, path, tmp_path / "w")
    assert code == 2
    assert "another launcher is at work" in err


def test_a_thousand_trials_are_planned_in_seconds(capsys, tmp_path):
    body = (
        "def sweep():\n  return [{'seed': s, 'learning_rate': r / 1000}"
        " for s in range(25) for r in range(1, 41)] + [{'seed': 0, 'learning_rate': 0.001}]"
    )
    start = time.process_time()
    code, out, err = call(capsys, write(tmp_path, body), tmp_path / "w", "--dry-run")
    assert time.process_time() - start < 5
    assert code == 0
    assert "1000 trials, 0 already ended, 1000 to run" in out
    assert "1 of 40, 15 of 64 trials" in out
    assert "1,200,000 images" in out  # 60 steps of 20
    assert "1 of the sweep's trials are repetitions" in err
    assert not (tmp_path / "w").exists()


GARBAGE = {
    "sweep.json": ("{}", "has no 'base'"),
    "list.json": ("{}", "has no 'trials'"),
    "trial.json": ("{}", "has no 'overrides'"),
    "end.json": ("{}", "has no 'status'"),
    "end.json of no state": ('{"status": "ended", "error": ""}', "status 'ended'"),
    "end.json of numbers": ('{"status": 3, "error": ""}', "'status' is 3"),
    "summary.json": ("{}", "has no 'status'"),
    "summary.json, diverged": ('{"status": "diverged"}', "has no 'step'"),
    "summary.json, completed": ('{"status": "completed", "step": 1}', "has no 'epoch'"),
    "metrics.jsonl": ("garbage\n", "is broken in line 1"),
    "metrics.jsonl of lists": ("[]\n", "is broken in line 1"),
}


@pytest.mark.attack(
    "one line",
    "sweep.json, trial.json, end.json or a trial's files without their entries",
    "one line",
)
@pytest.mark.parametrize("kind", GARBAGE)
def test_damaged_files_of_a_sweep_are_one_error(tmp_path, kind):
    sweep, (trial,) = Sweep(tmp_path), trials_of([{"seed": 1}])
    fake(sweep, trial, 0.1)
    sweep.open(make_tiny_config(), "file.py")
    sweep.close()
    name, (content, message) = kind.split(" ")[0].rstrip(","), GARBAGE[kind]
    of_sweep = name in ("sweep.json", "list.json")
    ((tmp_path if of_sweep else sweep.folder(trial.id)) / name).write_text(content)

    def read_all():
        sweep.check(make_tiny_config())
        sweep.listed()
        sweep.status(trial.id)
        sweep.rows(trial.id)
        sweep.read(trial.id)

    with pytest.raises(LenetAlexnetError, match=message):
        read_all()


@pytest.mark.attack(
    "foreign", "trials or logs of a sweep is a link", "one line; nothing is written through it"
)
@pytest.mark.parametrize("name", ["trials", "logs"])
def test_a_sweep_folder_with_links_is_refused(tmp_path, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / name).symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="is a link"):
        Sweep(tmp_path / "w").open(make_tiny_config(), "file.py")
    assert list((tmp_path / "mine").iterdir()) == []
