"""A run that diverges, goes back and continues with a smaller rate, disturbed or not."""

import contextlib
import io
import shutil

import pytest

from lenet_alexnet.config import flatten
from lenet_alexnet.config.checks import check_ranges
from lenet_alexnet.errors import Diverged, Interrupted, UsageError
from lenet_alexnet.optimizers.plateau import WithPlateau
from lenet_alexnet.runs import integrity
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.runs.metrics import MetricsLog
from lenet_alexnet.sweep.groups import signature
from lenet_alexnet.training import back_off, loop
from lenet_alexnet.training.builders import build_optimizer
from lenet_alexnet.training.single_run import SingleRun
from tests.helpers import damage, faults
from tests.helpers.runs import comparable, stop_after
from tests.helpers.tiny_configs import make_tiny_config

slow = pytest.mark.slow
RATE, FACTOR = 0.01, 1e-4
# Good up to step 35, then far too large; the steps saved are, as planned, 15, 20, 30 ...
JUMP = {"name": "piecewise", "boundaries": ("35 steps",), "values": (1.0, 1e10)}


def make_config(**overrides):
    config = make_tiny_config()
    with config.unlocked():
        config.optimizer = {"name": "sgd", "learning_rate": RATE, "schedule": JUMP}
        config.model.activation = "relu"
        config.train.back_off = FACTOR
        config.checkpoint.keep = 3
        config.train.update(log_every="2 steps", steps_per_dispatch=1)
        config.update_from_flattened_dict(overrides)
    return config


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    with contextlib.redirect_stderr(io.StringIO()) as err:
        summary = loop.train_and_evaluate(make_config(), workdir)
    return workdir, summary, err.getvalue()


def notes(workdir):
    with MetricsLog(workdir / "back_off.jsonl", writes=False) as log:
        return [{k: v for k, v in row.items() if k != "time"} for row in log.rows.values()]


def same(workdir, reference):
    assert faults.outcome(workdir) == faults.outcome(reference)
    assert notes(workdir) == notes(reference)
    assert read_json(workdir / "summary.json")["back_offs"] == 2


@pytest.mark.slow
def test_it_goes_back_and_completes(undisturbed):
    workdir, summary, err = undisturbed
    assert (summary["status"], summary["step"], summary["back_offs"]) == ("completed", 60, 2)
    said = [line for line in err.splitlines() if "back to" in line]
    assert len(said) == 2
    assert said[0].startswith("the loss or a parameter was NaN or infinite at step 3")
    assert said[0].endswith("back to step 30, learning rate 1e-06 from there (1 of 3)")
    assert [(note["step"], note["count"]) for note in notes(workdir)] == [(30, 2)]


@pytest.mark.slow
def test_the_log_has_each_step_once_and_the_rate_that_was_used(undisturbed):
    rows = comparable(undisturbed[0])
    steps = [(row["step"], row["split"]) for row in rows]
    assert steps == sorted(set(steps), key=lambda key: (key[0], key[1] == "test"))
    assert len([1 for _, split in steps if split == "train"]) == 30
    rates = {row["step"]: row["learning_rate"] for row in rows if row["split"] == "train"}
    assert rates[30] == pytest.approx(RATE)
    assert rates[32] == pytest.approx(RATE * FACTOR**2)
    assert rates[40] == pytest.approx(1e10 * RATE * FACTOR**2)


class Death(BaseException):
    pass


def die(monkeypatch, owner, name, at_call, after=False):
    """Ends the run before or just after the nth call of `owner.name`."""
    original, calls = getattr(owner, name), []

    def wrapper(*arguments, **keywords):
        calls.append(1)
        if len(calls) == at_call and not after:
            raise Death
        result = original(*arguments, **keywords)
        if len(calls) == at_call:
            raise Death
        return result

    monkeypatch.setattr(owner, name, wrapper)


DEATHS = {
    "as it diverges": (back_off.BackOff, "go_back", 1, False),
    "checkpoints removed": (Checkpoints, "remove_after", 2, True),
    "log cut": (back_off.MetricsLog, "cut", 1, True),
    "notes cut": (back_off.MetricsLog, "cut", 4, True),
    "gone back": (back_off.BackOff, "go_back", 2, True),
    "on the way again": (SingleRun, "_evaluate", 2, False),
}


@pytest.mark.parametrize(
    "moment", [pytest.param(m, marks=[] if m == "log cut" else [slow]) for m in DEATHS]
)
@pytest.mark.slow
def test_a_run_that_died_around_it_ends_in_the_same_bits(
    undisturbed, tmp_path, monkeypatch, moment
):
    die(monkeypatch, *DEATHS[moment])
    with pytest.raises(Death):
        loop.train_and_evaluate(make_config(), tmp_path)
    monkeypatch.undo()
    loop.train_and_evaluate(make_config(), tmp_path)
    same(tmp_path, undisturbed[0])


@slow
@pytest.mark.parametrize("polls", [1, 36, 38, 44, 50])
def test_a_run_that_was_stopped_around_it_ends_in_the_same_bits(undisturbed, tmp_path, polls):
    """Also if the stop leaves a checkpoint, at 35 and 37, that no undisturbed run has."""
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(make_config(), tmp_path, stop_requested=stop_after(polls))
    loop.train_and_evaluate(make_config(), tmp_path)
    same(tmp_path, undisturbed[0])


@slow
def test_what_came_back_is_damaged_and_the_one_before_is_used(undisturbed, tmp_path):
    with pytest.raises(Interrupted):  # At step 34, after going back once.
        loop.train_and_evaluate(make_config(), tmp_path, stop_requested=stop_after(43))
    kept = [one.step for one in integrity.saved(tmp_path / "checkpoints")]
    assert kept == [34, 30, 20]
    assert len(notes(tmp_path)) == 1
    for one in integrity.saved(tmp_path / "checkpoints"):
        if one.step >= 30:
            damage.flip(damage.largest(one.folder))
    loop.train_and_evaluate(make_config(), tmp_path)
    for aside in (tmp_path / "checkpoints").glob("damaged-*"):
        shutil.rmtree(aside)
    same(tmp_path, undisturbed[0])


@slow
def test_after_three_times_it_is_over(tmp_path):
    overrides = {"optimizer.learning_rate": 1e30, "train.back_off": 0.5}
    with pytest.raises(Diverged, match=r"at step [23]: .*step 0 is saved and good"):
        loop.train_and_evaluate(make_config(**overrides), tmp_path)
    summary = read_json(tmp_path / "summary.json")
    assert (summary["status"], summary["back_offs"]) == ("diverged", 3)
    assert [(note["step"], note["count"]) for note in notes(tmp_path)] == [(0, 3)]


def test_off_it_changes_nothing():
    assert not isinstance(build_optimizer(make_tiny_config(), 300).tx.init({}), WithPlateau)
    assert isinstance(build_optimizer(make_config(), 300).tx.init({}), WithPlateau)


def test_it_is_no_plateau_and_no_lane_of_a_sweep():
    one, two = make_config(), make_config(seed=1)
    assert signature(one) != signature(two)
    with one.unlocked():
        one.optimizer.plateau = {"patience": 1, "min_improvement": 0, "factor": 0.1, "drops": 3}
    with pytest.raises(UsageError, match="choose one"):
        build_optimizer(one, 300)
    with pytest.raises(UsageError, match="not less than 1"):
        check_ranges(flatten(make_config(**{"train.back_off": 1.0})))
    with pytest.raises(UsageError, match=r"train.average 1.0 is not less than 1"):
        check_ranges(flatten(make_config(**{"train.average": 1.0})))
