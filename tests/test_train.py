import jax
import numpy as np
import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.errors import DataError, Diverged, Interrupted, UsageError
from lenet_alexnet.inference.evaluate import evaluate_workdirs
from lenet_alexnet.runs import integrity
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.training import loop as train
from lenet_alexnet.training.experiment import build
from lenet_alexnet.training.single_run import SingleRun
from tests.helpers import faults
from tests.helpers.runs import comparable, rows, stop_after
from tests.helpers.tiny_configs import make_tiny_config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One undisturbed run, and its config."""
    config = make_tiny_config()
    workdir = tmp_path_factory.mktemp("run") / "w"
    summary = train.train_and_evaluate(config, workdir)
    return config, workdir, summary


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """The same with a validation split."""
    config, workdir = make_tiny_config(), tmp_path_factory.mktemp("validated") / "w"
    with config.unlocked():
        config.data.validation = "train[300:400]"
    return config, workdir, train.train_and_evaluate(config, workdir)


def test_a_run_leaves_the_files_of_the_contract(finished):
    config, workdir, summary = finished
    assert summary == read_json(workdir / "summary.json")
    assert (summary["status"], summary["step"], summary["epoch"]) == ("completed", 60, 4.0)
    assert (summary["params"], summary["seed"]) == (61706, 0)
    assert summary["eval"]["test"]["examples"] == 110
    assert summary["best"] is None
    assert configs.differences(read_json(workdir / "config.json"), config.to_dict()) == []
    run = read_json(workdir / "run.json")
    assert run["versions"]["jax"] == jax.__version__
    assert run["config_hash"] == summary["config_hash"] == configs.config_hash(config)
    steps = [(row["step"], row["split"]) for row in rows(workdir)]
    trained = [(n, "train") for n in range(10, 61, 10)]
    assert sorted(steps) == sorted([*trained, (20, "test"), (40, "test"), (60, "test")])
    for row in rows(workdir):
        assert row["examples"] == (200 if row["split"] == "train" else 110)
        assert row["loss"] > 0 <= row["top1_error"] <= 1


def test_it_learns(finished):
    log = [row for row in rows(finished[1]) if row["split"] == "train"]
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]
    assert log[-1]["top1_error"] < log[0]["top1_error"] - 0.2


def test_best_is_the_smallest_validation_error_of_the_log(validated):
    _, workdir, summary = validated
    log = [row for row in rows(workdir) if row["split"] == "validation"]
    errors = {row["step"]: row["top1_error"] for row in log}
    assert summary["best"]["top1_error"] == min(errors.values())
    assert errors[summary["best"]["step"]] == summary["best"]["top1_error"]


def test_eval_reads_the_checkpoints_back(finished):
    _, workdir, summary = finished
    last = evaluate_workdirs([workdir])
    assert last["step"] == 60
    assert {k: last[k] for k in summary["eval"]["test"]} == summary["eval"]["test"]
    assert evaluate_workdirs([workdir], split="train")["examples"] == 300
    with pytest.raises(UsageError, match="known: train, test"):
        evaluate_workdirs([workdir], split="validation")


def test_a_complete_run_is_not_trained_again(finished, capsys):
    config, workdir, summary = finished
    before = rows(workdir)
    assert train.train_and_evaluate(config, workdir) == summary
    assert rows(workdir) == before
    assert "complete already" in capsys.readouterr().err


@pytest.mark.parametrize("polls", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_a_run_that_was_stopped_ends_in_the_same_bits(finished, tmp_path, polls, capsys):
    config, undisturbed, summary = finished
    with pytest.raises(Interrupted, match="same command"):
        train.train_and_evaluate(config, tmp_path, stop_requested=stop_after(polls))
    assert read_json(tmp_path / "summary.json")["status"] == "interrupted"
    again = train.train_and_evaluate(config, tmp_path)
    assert "resuming at step" in capsys.readouterr().err
    assert again["eval"] == summary["eval"]
    assert faults.outcome(tmp_path) == faults.outcome(undisturbed)  # each array of the state


def test_a_run_that_died_goes_on_from_its_last_checkpoint(finished, tmp_path, monkeypatch):
    config, undisturbed, summary = finished

    class Death(BaseException):
        pass

    read = SingleRun.read

    def dying_read(loop, step, sums):
        read(loop, step, sums)
        if step >= 50:
            raise Death

    monkeypatch.setattr(SingleRun, "read", dying_read)
    with pytest.raises(Death):
        train.train_and_evaluate(config, tmp_path)
    monkeypatch.undo()
    (tmp_path / "summary.json").unlink()
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"step": 59, "split": "tra')  # As after a crash in the middle of a line.
    assert train.train_and_evaluate(config, tmp_path)["eval"] == summary["eval"]
    assert comparable(tmp_path) == comparable(undisturbed)


@pytest.mark.slow
def test_another_seed_is_another_run(finished, tiny_config, tmp_path):
    with tiny_config.unlocked():
        tiny_config.seed = 1
    other = train.train_and_evaluate(tiny_config, tmp_path)
    assert other["eval"]["test"]["loss"] != finished[2]["eval"]["test"]["loss"]


def test_validation_selects_and_test_is_looked_at_once(validated):
    _, workdir, summary = validated
    looked = [(row["step"], row["split"]) for row in rows(workdir) if row["split"] != "train"]
    assert looked == [(20, "validation"), (40, "validation"), (60, "validation"), (60, "test")]
    assert summary["best"]["selected_on"] == "validation"
    assert evaluate_workdirs([workdir], split="test")["checkpoint"] == "best"
    best = evaluate_workdirs([workdir], split="validation", checkpoint="best")
    assert {key: best[key] for key in ("step", "top1_error", "loss")} == {
        key: summary["best"][key] for key in ("step", "top1_error", "loss")
    }


def test_without_a_validation_split_no_checkpoint_is_the_best(finished):
    _, workdir, _ = finished
    assert evaluate_workdirs([workdir])["checkpoint"] == "last"
    with pytest.raises(UsageError, match=r"needs a validation split.*data.validation='train\[90%:"):
        evaluate_workdirs([workdir], checkpoint="best")
    saved = integrity.saved(workdir / "checkpoints")
    assert [(one.step, one.top1_error) for one in saved] == [(60, None), (45, None)]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({}, r"optimizer.plateau needs a validation split.*data.validation='train\[90%:"),
        ({"data.validation": "train[300:400]", "eval.every": "0 steps"}, "eval.every is 0 steps"),
    ],
)
def test_a_plateau_needs_validation_errors(tiny_config, overrides, words):
    with tiny_config.unlocked():
        tiny_config.update_from_flattened_dict(overrides)
        tiny_config.optimizer.plateau = {
            "patience": 1,
            "min_improvement": 0.0,
            "factor": 0.1,
            "drops": 3,
        }
    with pytest.raises(UsageError, match=words):
        build(tiny_config)


def test_checkpoints_keep_the_last_and_the_best(validated):
    _, workdir, summary = validated
    kept = {int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()}
    assert kept == {45, 60, summary["best"]["step"]}


def test_divergence_names_the_step(tiny_config, tmp_path):
    with tiny_config.unlocked():
        tiny_config.optimizer = {
            "name": "sgd",
            "learning_rate": 1e30,
            "schedule": {"name": "constant"},
        }
        tiny_config.model.activation = "relu"
    with pytest.raises(Diverged, match=r"at step [23]: .*learning_rate"):
        train.train_and_evaluate(tiny_config, tmp_path)
    assert read_json(tmp_path / "summary.json")["status"] == "diverged"


@pytest.mark.slow
def test_a_flat_loss_is_said(tiny_config, tmp_path, capsys):
    with tiny_config.unlocked():
        tiny_config.optimizer = {
            "name": "sgd",
            "learning_rate": 0.0,
            "schedule": {"name": "constant"},
        }
    train.train_and_evaluate(tiny_config, tmp_path)
    assert capsys.readouterr().err.count("flat") == 1


def test_another_config_is_refused_with_the_difference(finished, tiny_config):
    with tiny_config.unlocked():
        tiny_config.optimizer.learning_rate = 0.5
    with pytest.raises(UsageError, match=r"optimizer\.learning_rate: 0\.003 -> 0\.5"):
        train.train_and_evaluate(tiny_config, finished[1])


def test_where_the_data_is_may_change(finished, tiny_config):
    with tiny_config.unlocked():
        tiny_config.data.data_dir = "/elsewhere"
    assert train.train_and_evaluate(tiny_config, finished[1]) == finished[2]


def test_a_failed_start_leaves_no_config_behind(tiny_config, tmp_path):
    with tiny_config.unlocked():
        tiny_config.train.batch_size = 301
    with pytest.raises(UsageError, match=r"301 is not within 1\.\.300"):
        train.train_and_evaluate(tiny_config, tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_a_checkpoint_that_does_not_fit_is_one_clear_error(finished):
    wrong = {"C1": {"kernel": jax.ShapeDtypeStruct((3,), np.float32)}}
    with (
        Checkpoints(finished[1] / "checkpoints", read_only=True) as checkpoints,
        pytest.raises(DataError, match="cannot restore checkpoint 60"),
    ):
        checkpoints.restore_variables(60, wrong)


@pytest.mark.slow
def test_mixed_precision_trains(tiny_config, tmp_path):
    with tiny_config.unlocked():
        tiny_config.train.precision = "bfloat16"
    summary = train.train_and_evaluate(tiny_config, tmp_path)
    assert summary["eval"]["test"]["top1_error"] < 0.6
