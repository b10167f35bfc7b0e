"""Runs that are made longer, and runs from before an entry was known."""

import json

import pytest

from lenet_alexnet.errors import Interrupted, UsageError
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.training import loop
from tests.helpers.runs import comparable, rows, stop_after
from tests.helpers.tiny_configs import make_tiny_config
from tests.helpers.warm_starts import bits, make, run

PLATEAU = {
    "data.validation": "train[300:400]",
    "optimizer.plateau": {"patience": 1, "min_improvement": 0.5, "factor": 0.5, "drops": 3},
}
DROPS = {"name": "steps", "boundaries": ("50 steps", "90 steps"), "factor": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plateau", "constant", "steps"])
def test_a_longer_run_ends_in_the_bits_of_one_that_was_longer_from_the_start(
    tmp_path, capsys, kind
):
    def of(duration):
        config = make(**{"train.duration": duration})
        with config.unlocked():
            if kind == "steps":
                config.optimizer.schedule = DROPS
            if kind == "plateau":
                config.data.validation = PLATEAU["data.validation"]
                config.optimizer.plateau = PLATEAU["optimizer.plateau"]
        return config

    assert loop.train_and_evaluate(of("60 steps"), tmp_path / "w")["step"] == 60
    with pytest.raises(Interrupted):  # It is stopped at once, and once more.
        loop.train_and_evaluate(of("100 steps"), tmp_path / "w", stop_requested=lambda: True)
    assert "60 steps -> 100 steps, 60 -> 100 steps" in capsys.readouterr().err
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(of("100 steps"), tmp_path / "w", stop_requested=stop_after(3))
    summary = loop.train_and_evaluate(of("100 steps"), tmp_path / "w")
    whole = loop.train_and_evaluate(of("100 steps"), tmp_path / "whole")
    assert (summary["status"], summary["step"]) == ("completed", 100)
    assert summary["eval"] == whole["eval"]
    assert bits(tmp_path / "w") == bits(tmp_path / "whole")
    ours = {json.dumps(row) for row in comparable(tmp_path / "w")}
    theirs = {json.dumps(row) for row in comparable(tmp_path / "whole")}
    assert theirs <= ours
    assert {(json.loads(row)["step"]) for row in ours - theirs} <= {60}
    if kind != "constant":
        rates = [row["learning_rate"] for row in rows(tmp_path / "whole")]
        assert len(set(rates)) > 1


@pytest.mark.slow
def test_a_length_that_cannot_change_is_one_line(tmp_path):
    same = {"data.validation": "train[300:400]"}
    run(tmp_path / "w", **same, **{"train.duration": "20 steps"})

    def refuse(words, workdir, **overrides):
        before = {path.name: path.read_bytes() for path in workdir.iterdir() if path.is_file()}
        with pytest.raises(UsageError, match=words):
            run(workdir, **same, **overrides)
        after = {path.name: path.read_bytes() for path in workdir.iterdir() if path.is_file()}
        assert {**before, ".lock": b""} == {**after, ".lock": b""}

    refuse(r"\(20 steps\).* is not longer", tmp_path / "w", **{"train.duration": "19 steps"})
    refuse(
        "another config .*seed: 0 -> 1",
        tmp_path / "w",
        **{"train.duration": "40 steps", "seed": 1},
    )
    cosine = {"optimizer.schedule.name": "cosine", **same}
    run(tmp_path / "cosine", **{**cosine, "train.duration": "20 steps"})
    refuse(
        r"'cosine' ends with the run.* \(after 10: 0\.0015 -> 0\.00256\)",
        tmp_path / "cosine",
        **{"optimizer.schedule.name": "cosine", "train.duration": "40 steps"},
    )


@pytest.mark.slow
def test_a_run_of_before_resumes(tmp_path):
    """Config files and runs without the new entries are as before."""
    config = make_tiny_config()
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, tmp_path, stop_requested=stop_after(2))
    assert {"init_from", "freeze"}.isdisjoint(read_json(tmp_path / "config.json")["train"])
    assert {"init_from", "ended"}.isdisjoint(read_json(tmp_path / "run.json"))
    with config.unlocked():  # An entry at its default is no difference.
        config.train.freeze = ()
    assert loop.train_and_evaluate(config, tmp_path)["status"] == "completed"
