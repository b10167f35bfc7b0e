"""`--plan`: what runs will take, from a few timed steps of each distinct program."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from types import SimpleNamespace

import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.cli import main
from lenet_alexnet.errors import DataError, Interrupted, LenetAlexnetError, UsageError
from lenet_alexnet.plan import estimate, probe, program, runs, timing
from lenet_alexnet.plan.found import Probe, Timings
from lenet_alexnet.plan.program import Program
from lenet_alexnet.reproduce import run as runner
from lenet_alexnet.reproduce.catalogue import CLAIMS
from lenet_alexnet.runs import wall_time
from lenet_alexnet.sweep.runner import SweepOptions
from lenet_alexnet.training.loop import train_and_evaluate
from lenet_alexnet.training.schedule import Schedule
from tests.helpers import ROOT, faults
from tests.helpers.sweep_files import write
from tests.helpers.tiny_configs import make_tiny_config

TIMINGS = Timings(
    start_up=2.0,
    compile=(1.0, 5.0),
    steps=[0.010, 0.012, 0.014],
    data_wait=0.25,
    refresh=0.5,
    example=0.001,
    save=0.1,
    first_save=0.3,
    last=0.4,
)
PROBE = Probe(
    timings=TIMINGS,
    total=100,
    log=10,
    evaluate=20,
    save=15,
    refresh=0,
    curve=50,
    everything=80,
    batch_size=20,
    runs=1,
    devices=1,
    device="cpu",
    params=1000,
    memory={"param_bytes": 4000, "optimizer_bytes": 8000, "peak_bytes": 50_000, "sent_bytes": 0},
    kept=2,
    checkpoint_bytes=1_000_000,
    line_bytes=200.0,
    other_bytes=3000,
)


@pytest.fixture
def short(monkeypatch):
    """Few steps are timed."""
    monkeypatch.setattr(timing, "SECONDS", 0.1)
    monkeypatch.setattr(timing, "CHUNK", 0.02)


@pytest.fixture
def here(monkeypatch, short):
    """Programs are timed in this process; the tasks."""
    tasks = []

    @contextlib.contextmanager
    def process(place, folder, log):
        tasks.append(json.loads((folder / "task.json").read_text()))
        one = SimpleNamespace(returncode=None, poll=lambda: one.returncode)

        def run():
            with contextlib.redirect_stderr(log), pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "stdin", io.StringIO())
                one.returncode = probe.main(folder)

        one.stdin = SimpleNamespace(close=run)
        yield one

    monkeypatch.setattr(program, "_process", process)
    return tasks


@pytest.fixture
def found(monkeypatch):
    """Nothing is timed; the programs that would be."""
    programs = []
    monkeypatch.setattr(runs, "time_it", lambda p, stop: (programs.append(p), PROBE)[1])
    started = contextlib.contextmanager(lambda p: (yield partial(runs.time_it, p)))
    monkeypatch.setattr(runs, "started", started)
    return programs


@pytest.mark.parametrize(("evaluate", "save"), [(20, 15), (0, 7), (13, 0), (0, 0), (30, 30)])
@pytest.mark.parametrize("done", [0, 1, 40, 99])
def test_plan_counts_evaluations_and_saves_as_the_schedule_has_them(evaluate, save, done):
    schedule = Schedule(total=100, log=10, evaluate=evaluate, save=save, refresh=0, per_dispatch=7)
    due = [schedule.due(step) for step in range(done + 1, 101)]
    one = PROBE._replace(evaluate=evaluate, save=save)
    assert estimate.multiples(one, done, evaluate) == sum(e for e, _ in due)
    assert estimate.saves(one, done) == sum(e or s for e, s in due)


def test_plan_adds_up_the_parts():
    found = estimate.estimate(PROBE)
    assert found.parts == pytest.approx(
        {
            "start_up": 2.0,
            "compile": 1.0,
            "steps": 0.75 * 100 * 0.012,
            "data_wait": 0.25 * 100 * 0.012,
            "evaluation": 0.001 * (4 * 50 + 80),
            "saving": 9 * 0.1 + 0.3 + 0.4,
        }
    )
    assert [*found.parts, "lost"] == list(wall_time.LABELS)
    assert found.lowest == pytest.approx(found.seconds - 100 * 0.002)
    assert found.highest == pytest.approx(found.seconds + 100 * 0.002 + 4.0)


def test_plan_of_the_rest_of_a_run():
    whole, rest = (estimate.estimate(PROBE, done) for done in (0, 60))
    assert rest.parts["steps"] == pytest.approx(0.4 * whole.parts["steps"])
    assert rest.parts["evaluation"] == pytest.approx(0.001 * (50 + 80))
    assert rest.parts["start_up"] == whole.parts["start_up"]


def test_plan_counts_the_second_backward_passes():
    one = PROBE._replace(refresh=50)
    longer = estimate.estimate(one).seconds - estimate.estimate(PROBE).seconds
    assert longer == pytest.approx(2 * 0.5)
    before = [sum(step % 50 == 0 for step in range(done, 100)) for done in (0, 1, 50, 51)]
    assert [estimate.refreshes(one, done) for done in (0, 1, 50, 51)] == before


def test_plan_of_processes_that_share_the_machine():
    assert estimate.makespan([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert estimate.makespan([1.0, 2.0], 1) == 3.0
    assert estimate.makespan([], 2) == 0.0


@pytest.mark.parametrize("side_by_side", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_plan_is_what_a_run_then_has(tmp_path, short, side_by_side):
    config = make_tiny_config()
    lanes = [configs.with_seed(config, seed) for seed in range(2 if side_by_side else 1)]
    start = time.monotonic()
    found = probe.time_program(lanes, tmp_path / "plan", side_by_side=side_by_side)
    took = time.monotonic() - start
    timings = found.timings
    assert (found.total, found.log, found.evaluate, found.save) == (60, 10, 20, 15)
    assert (found.curve, found.everything, found.params) == (110, 110, 61706)
    assert 0 < timings.compile[0] <= timings.compile[1] < took
    assert len(timings.steps) >= timing.FEWEST
    assert 0 < sum(timings.steps) < took
    assert min(timings.start_up, timings.example, timings.save, timings.last) > 0
    held = 4 * 61706 * len(lanes) // found.devices
    assert found.memory["param_bytes"] == held
    assert found.memory["optimizer_bytes"] >= 2 * held
    assert found.memory["peak_bytes"] > 3 * held
    if side_by_side:
        return
    summary = train_and_evaluate(config, tmp_path / "run")
    assert summary["params"] == found.params
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert estimate.disk_bytes(found) == pytest.approx(
        sum(p.stat().st_size for p in files), rel=0.1
    )


@pytest.mark.slow
def test_plan_evaluates_few_examples_and_counts_all(tmp_path, short, monkeypatch):
    monkeypatch.setattr(timing, "BATCHES", 1)
    config = make_tiny_config()
    found = probe.time_program([config], tmp_path / "plan", side_by_side=False)
    assert found.everything == 110
    rows = (tmp_path / "plan" / "0" / "metrics.jsonl").read_text().splitlines()
    tested = [json.loads(row)["examples"] for row in rows if '"test"' in row]
    assert set(tested) == {50}


def test_plan_of_a_run_leaves_its_folder_alone(tmp_path, here, capsys):
    command = [*faults.LENET, "--plan", "--json", f"--workdir={tmp_path / 'w'}"]
    assert main(["lenet-alexnet", *command]) == 0
    plan = json.loads(capsys.readouterr().out)
    (one,) = plan["programs"]
    assert (one["steps"], one["params"], one["runs"], one["processes"]) == (120, 61706, 1, 1)
    assert one["lowest"] <= one["seconds"] <= one["highest"]
    assert plan["seconds"] == one["seconds"] == pytest.approx(sum(one["parts"].values()))
    assert list(tmp_path.iterdir()) == []
    assert [task["side_by_side"] for task in here] == [False]


def test_plan_of_a_run_that_has_begun(tmp_path, found, capsys):
    workdir = tmp_path / "w"
    (workdir / "checkpoints" / "40").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    command = ["lenet-alexnet", *faults.LENET, "--plan", f"--workdir={workdir}"]
    assert main(command) == 0
    assert "60 steps of 20 images" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    (workdir / "checkpoints" / "100").mkdir()
    assert main(command) == 2
    assert "complete already" in capsys.readouterr().err


def test_plan_tells_what_training_would(tmp_path, here, capsys):
    command = ["lenet-alexnet", *faults.LENET, "--plan", "--config.train.batch_size=400"]
    assert main(command) == 2
    assert "train.batch_size 400 is not within 1..300" in capsys.readouterr().err
    command = ["lenet-alexnet", *faults.LENET, "--plan", "--config.data.source=idx"]
    assert main([*command, f"--config.data.data_dir={tmp_path}"]) == 1
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "lines", "kind", "text"),
    [
        (2, ["x", "error: no such key"], UsageError, "no such key"),
        (1, ["error: no data"], DataError, "no data"),
        (-9, [], LenetAlexnetError, "killed by signal 9: no output"),
    ],
)
def test_plan_when_the_process_fails(code, lines, kind, text):
    with pytest.raises(kind, match=text):
        program._fail(code, lines)


def test_plan_that_is_stopped_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pids = []
    popen = program.subprocess.Popen

    def start(*arguments, **keywords):
        process = popen(*arguments, **keywords)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(program.subprocess, "Popen", start)
    with pytest.raises(Interrupted):
        program.time_it(Program([make_tiny_config()]), lambda: bool(pids))
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert list(tmp_path.iterdir()) == []


def sweep_file(tmp_path, overrides):
    helpers = "from lenet_alexnet.sweep import grid, product, seeds"
    return write(tmp_path, f"{helpers}\ndef sweep():\n    return {overrides}\n")


def plan_sweep(path, workdir, **options):
    base = configs.load(str(path)).get_config()
    return runs.of_sweep(str(path), base, workdir, SweepOptions(**options), lambda: False)


def test_plan_of_a_sweep_times_each_program_once(tmp_path, found, capsys):
    overrides = (
        "product(grid({'train.batch_size': [20, 30], 'learning_rate': [1e-3, 2e-3]}), seeds(3))"
    )
    path = sweep_file(tmp_path, overrides)
    text, planned = plan_sweep(path, tmp_path / "w")
    assert "12 trials, 0 already ended, 12 to run" in text
    assert [(len(p.configs), p.side_by_side) for p in found] == [(6, True), (6, True)]
    assert [(one.done, one.places) for one in planned] == [([0], 1), ([0], 1)]
    assert not (tmp_path / "w").exists()
    found.clear()
    _, planned = plan_sweep(path, tmp_path / "w", executor="local", jobs=4)
    assert [(len(p.configs), p.side_by_side) for p in found] == [(1, False), (1, False)]
    assert [(len(one.done), one.places) for one in planned] == [(6, 4), (6, 4)]
    assert "12 trials checked" in capsys.readouterr().err


def test_plan_of_a_sweep_with_a_plateau_times_one_of_its_runs(tmp_path, found):
    """Such trials train alone, but by one program."""
    path = sweep_file(tmp_path, "grid({'learning_rate': [1e-3, 2e-3], 'train.back_off': [0.5]})")
    _, planned = plan_sweep(path, tmp_path / "w")
    assert len(found) == 1
    assert [one.done for one in planned] == [[0, 0]]


def test_plan_checks_a_thousand_trials_in_ten_seconds(tmp_path, found):
    path = sweep_file(
        tmp_path,
        "product(grid({'learning_rate': [1e-3 + 1e-6 * i for i in range(250)]}), seeds(4))",
    )
    start = time.process_time()
    _, planned = plan_sweep(path, tmp_path / "w")
    assert time.process_time() - start < 10
    assert sum(len(p.configs) for p in found) == 64 + 1000 % 64
    assert [len(one.done) for one in planned] == [15, 1]


@pytest.mark.slow
def test_plan_of_a_sweep_through_the_command(tmp_path, here, capsys):
    path = sweep_file(tmp_path, "seeds(2)")
    command = [
        "lenet-alexnet",
        "sweep",
        f"--config={path}",
        f"--workdir={tmp_path / 'w'}",
        "--plan",
    ]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "2 trials, 0 already ended, 2 to run" in out
    assert "lenet5: 2 runs side by side, each 61,706 parameters, 60 steps of 20 images" in out
    assert not (tmp_path / "w").exists()
    assert main([*command, "--search=3"]) == 2
    assert "--search has no --plan" in capsys.readouterr().err
    assert main([*command, "--dry-run"]) == 2
    assert "give one of them" in capsys.readouterr().err
    assert main([*command[:-1], "--json"]) == 2
    assert "--json is for --plan" in capsys.readouterr().err


CLAIM = ("reproduce", "lenet5_fig6", "--scale=small")


def test_plan_of_a_claim(tmp_path, found, capsys):
    command = [
        "lenet-alexnet",
        "reproduce",
        "lenet5_fig6",
        "--scale=small",
        f"--workdir={tmp_path}",
    ]
    assert main([*command, "--plan", "--json", "--seeds=2"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [p.each_core_a_device for p in found] == [True] * len(found)
    assert [len(p.configs) for p in found] == [2] * len(plan["programs"])
    assert plan["seconds"] == pytest.approx(len(found) * estimate.estimate(PROBE).seconds)
    assert list(tmp_path.iterdir()) == []
    assert main(["lenet-alexnet", "reproduce", "--plan"]) == 2


def test_plan_when_nothing_is_left(tmp_path, found, capsys):
    command = [
        "lenet-alexnet",
        "reproduce",
        "lenet5_fig6",
        "--scale=small",
        f"--workdir={tmp_path}",
    ]
    for seed in range(2):
        for _, folder in runner.prepare(CLAIMS["lenet5_fig6"].small, tmp_path).values():
            done = folder / f"seed_{seed}"
            done.mkdir(parents=True)
            summary = {"status": "completed", "step": 1, "epoch": 1, "train_seconds": 1, "eval": {}}
            (done / "summary.json").write_text(json.dumps(summary))
    assert main([*command, "--plan", "--seeds=2"]) == 0
    assert capsys.readouterr().out == "nothing is left to train\n"
    assert found == []


@pytest.mark.slow
def test_plan_in_a_process(tmp_path):
    """As a user gets it; on a machine with other work, only the order of magnitude holds."""
    command = [sys.executable, "-m", "lenet_alexnet", *faults.LENET, f"--workdir={tmp_path / 'w'}"]
    done = subprocess.run([*command, "--plan", "--json"], cwd=ROOT, stdout=subprocess.PIPE)
    assert list(tmp_path.iterdir()) == []
    start = time.monotonic()
    assert subprocess.run(command, cwd=ROOT).returncode == 0
    assert 0.2 < json.loads(done.stdout)["seconds"] / (time.monotonic() - start) < 5
