"""Sweeps as users run them: processes that fail, are stopped, are killed."""

import csv
import functools
import json
import os
import signal
import subprocess
import sys

import pytest

from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.sweep import worker
from tests.helpers import ROOT
from tests.helpers.processes import wait_for
from tests.helpers.sweep_files import write

QUICK = ROOT / "configs" / "lenet5_quickstart.py"
SEEDS = "def sweep():\n  return [{'seed': s} for s in range(3)]"


def start(path, workdir, *more):
    command = [sys.executable, "-m", "lenet_alexnet", "sweep", f"--config={path}"]
    return subprocess.Popen(
        [*command, f"--workdir={workdir}", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def finish(path, workdir, *more):
    process = start(path, workdir, *more)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def table(workdir):
    """results.csv without the columns that depend on time."""
    with (workdir / "results.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def ended(workdir):
    """The start time of each completed trial."""
    done = {}
    for path in workdir.glob("trials/*/summary.json"):
        if read_json(path)["status"] == "completed":
            done[path.parent.name] = read_json(path.parent / "run.json")["started"]
    return done


def saved(workdir):
    return [path for path in workdir.glob("trials/*/checkpoints/*") if path.name.isdigit()]


@pytest.mark.attack(
    "silent", "the launcher of a sweep is killed", "the same command ends in the same table"
)
@pytest.mark.slow
@pytest.mark.parametrize("executor", ["vmap", "local"])
def test_a_launcher_that_was_killed_goes_on_to_the_same_table(tmp_path, executor):
    path, flags = write(tmp_path, SEEDS), [f"--executor={executor}", "--jobs=1"]
    flags.append("--config.train.duration=400 steps")
    code, _, err = finish(path, tmp_path / "undisturbed", *flags)
    assert code == 0, err
    work = tmp_path / "killed"
    process = start(path, work, *flags)
    if executor == "vmap":
        wait_for(lambda: saved(work), 300)
    else:
        wait_for(lambda: ended(work) and len({p.parents[1] for p in saved(work)}) == 2, 300)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = ended(work)
    assert len(before) < 3
    code, _, err = finish(path, work, *flags)
    assert code == 0, err
    assert table(work) == table(tmp_path / "undisturbed")
    assert before.items() <= ended(work).items()  # None of them was started again.
    assert any("resuming at step" in log.read_text() for log in (work / "logs").iterdir())
    for metrics in work.glob("trials/*/metrics.jsonl"):
        rows = [tuple(line.split(",")[:3:2]) for line in metrics.read_text().splitlines()]
        assert len(rows) == len(set(rows))


@pytest.mark.attack(
    "foreign",
    "optax.py or statistics.py in the current folder",
    "neither workers nor python -m import it",
)
def test_nothing_is_imported_from_the_current_folder(tmp_path):
    """By a worker, and by `python -m`, which is the console script."""
    for module in ("optax", "statistics", "absl"):
        (tmp_path / f"{module}.py").write_text("open('ran', 'w'); raise ImportError('a neighbour')")
    run = functools.partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True)
    started = worker.command(tmp_path / "sweep", 1.0, ["x"])
    for command, said in (
        (started, "No such file or directory"),
        ([sys.executable, "-m", "lenet_alexnet", "info", f"--config={QUICK}"], "F6"),
    ):
        done = run(command, env=worker.environment() | {"JAX_PLATFORMS": "cpu"})
        assert said in done.stdout + done.stderr
        assert not (tmp_path / "ran").exists()


@pytest.mark.attack(
    "silent", "trials that fail or diverge", "they are reported; the others train to their ends"
)
@pytest.mark.slow
def test_trials_that_break_are_kept_apart_and_the_rest_goes_on(tmp_path):
    body = (
        "def sweep():\n  return [{'seed': 1}, {'train.batch_size': 301},"
        " {'seed': 1, 'optimizer.learning_rate': 1e30, 'activation': 'relu'}]"
    )
    path, work = write(tmp_path, body), tmp_path / "w"
    code, out, err = finish(path, work)
    assert code == 1
    assert [row["status"] for row in table(work)] == ["completed", "failed", "diverged"]
    assert "301 is not within 1..300" in table(work)[1]["error"]
    assert "1 failed" in out
    assert "1 diverged" in out
    assert "failed: train.batch_size 301" in err
    before = ended(work)
    code, _, err = finish(path, work, "--retry-failed")
    assert code == 1
    assert "1 of 3 trials have already ended" in err
    assert ended(work) == before
    code, out, _ = finish(path, work, "--report")
    assert code == 1
    assert "Ranked on the test split" in out


@pytest.mark.attack(
    "silent",
    "trials resume with another precision of JAX",
    "one line, unless other bits are allowed",
)
@pytest.mark.parametrize("executor", ["vmap", "local"])
@pytest.mark.slow
def test_trials_go_on_to_other_bits_only_if_allowed(tmp_path, executor):
    path = write(tmp_path, "def sweep():\n  return [{'seed': s} for s in range(2)]")
    work, flags = tmp_path / "w", [f"--executor={executor}", "--jobs=1"]
    code, _, err = finish(path, work, *flags)
    assert code == 0, err
    for folder in (work / "trials").iterdir():  # As if stopped, and begun otherwise.
        (folder / "summary.json").unlink()
        content = json.loads((folder / "run.json").read_text())
        content["switches"]["jax_enable_x64"] = True
        (folder / "run.json").write_text(json.dumps(content))
    code, _, err = finish(path, work, *flags)
    assert code == 1
    assert err.count("jax_enable_x64 True -> False") >= 2
    assert not ended(work)
    code, _, err = finish(path, work, *flags, "--retry-failed", "--allow-other-bits")
    assert code == 0, err
    assert len(ended(work)) == 2


@pytest.mark.slow
def test_halving_and_search_over_processes(tmp_path):
    body = (
        "def sweep():\n  return [{'optimizer.learning_rate': r} for r in (1e-5, 3e-3, 1e-4)]\n"
        "def search(trial):\n  return {'optimizer.learning_rate':"
        " trial.suggest_float('r', 1e-4, 1e-2, log=True)}"
    )
    path = write(tmp_path, body)
    code, _, err = finish(path, tmp_path / "s", "--search=3")
    assert (code, "--search needs a validation split" in err) == (2, True), err
    held_out = "--config.data.validation=train[300:400]"
    code, _, err = finish(path, tmp_path / "h", "--halving=3", held_out)
    assert code == 0, err
    assert [row["status"] for row in table(tmp_path / "h")] == ["stopped", "completed", "stopped"]
    code, _, err = finish(path, tmp_path / "s", "--search=3", held_out)
    assert code == 0, err
    assert [row["status"] for row in table(tmp_path / "s")] == ["completed"] * 3
    code, _, err = finish(path, tmp_path / "s", "--search=3", held_out)
    assert code == 0, err
    assert len(table(tmp_path / "s")) == 3
