"""Runs as lanes of one program: each equals the single run."""

import json

import numpy as np
import pytest

from lenet_alexnet.errors import Interrupted
from lenet_alexnet.inference.evaluate import evaluate_workdirs
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.sweep.vmap import train_lanes
from lenet_alexnet.training import loop
from tests.helpers.runs import comparable, stop_after
from tests.helpers.tiny_configs import make_tiny_1998_config, make_tiny_config

LANES = (
    {"seed": 0, "optimizer.learning_rate": 1e-3},
    {
        "seed": 1,
        "optimizer.learning_rate": 3e-3,
        "optimizer.weight_decay": 0.3,
        "optimizer.schedule.final": 0.5,
        "train.loss.label_smoothing": 0.2,
        "data.distort.shift": 0.5,
    },
    {"seed": 1, "optimizer.learning_rate": 1e30},
)


def lane_configs(make=make_tiny_config, lanes=LANES):
    configs = []
    for overrides in lanes:
        configs.append(make())
        with configs[-1].unlocked():
            configs[-1].update_from_flattened_dict(overrides)
            configs[-1].train.duration = "100 steps"
    return configs


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lanes")
    folders = [folder / str(i) for i in range(len(LANES))]
    return folders, train_lanes(lane_configs(), folders)


def test_each_lane_is_the_run_alone(together, tmp_path):
    folders, _ = together
    alone = loop.train_and_evaluate(lane_configs()[1], tmp_path)
    ours, theirs = comparable(folders[1]), comparable(tmp_path)
    assert len(ours) == len(theirs) > 10
    for a, b in zip(ours, theirs, strict=True):
        assert {k: a[k] for k in ("step", "split", "epoch", "examples")} == {
            k: b[k] for k in ("step", "split", "epoch", "examples")
        }
        assert a["learning_rate"] == pytest.approx(b["learning_rate"], rel=1e-6)
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
    summary = read_json(folders[1] / "summary.json")
    for key in ("status", "step", "epoch", "params", "seed", "config_hash"):
        assert summary[key] == alone[key]
    assert summary["best"] is None  # The test split chooses nothing.
    assert evaluate_workdirs([folders[1]])["loss"] == pytest.approx(
        summary["eval"]["test"]["loss"], rel=1e-5
    )


def test_a_lane_that_diverges_stops_alone(together):
    folders, summaries = together
    assert [s["status"] for s in summaries] == ["completed", "completed", "diverged"]
    assert summaries[2]["step"] <= 3
    assert summaries[2]["eval"] == {}
    assert comparable(folders[2]) == []


def test_each_row_of_the_log_is_shown_as_a_range_over_the_runs(tmp_path, capsys):
    folders = [tmp_path / str(i) for i in range(2)]
    train_lanes(lane_configs(lanes=LANES[:2]), folders)
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    pairs = list(zip(comparable(folders[0]), comparable(folders[1]), strict=True))
    assert len(shown) == len(pairs) > 10
    for line, rows in zip(shown, pairs, strict=True):
        low, high = sorted(100 * row["top1_error"] for row in rows)
        assert f"{rows[0]['split']:<10}  error {low:5.2f} .. {high:5.2f} % of 2 runs" in line
        assert ("img/s" in line) == (rows[0]["split"] == "train")
        assert line.endswith(" left") == (rows[0]["step"] < 100)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [True, False])
def test_lanes_at_once_and_in_turn_agree_and_resume(together, tmp_path, at_once):
    folders, summaries = together
    mine = [tmp_path / str(i) for i in range(2)]
    configs = lane_configs()[:2]
    with pytest.raises(Interrupted):
        train_lanes(configs, mine, stop_requested=stop_after(4), at_once=at_once)
    assert {read_json(f / "summary.json")["status"] for f in mine} == {"interrupted"}
    again = train_lanes(configs, mine, at_once=at_once)
    for a, b in zip(again, summaries, strict=False):
        assert a["eval"]["test"]["loss"] == pytest.approx(b["eval"]["test"]["loss"], abs=1e-4)
    steps = [(row["step"], row["split"]) for row in comparable(mine[0])]
    assert steps == [(row["step"], row["split"]) for row in comparable(folders[0])]


@pytest.mark.slow
def test_a_rung_stops_after_its_evaluation(tmp_path):
    config = lane_configs()[:1]
    (summary,) = train_lanes(config, [tmp_path], until=0.35)
    assert (summary["status"], summary["step"]) == ("interrupted", 40)
    (summary,) = train_lanes(config, [tmp_path])
    assert (summary["status"], summary["step"]) == ("completed", 100)


@pytest.mark.slow
def test_lanes_of_1998_with_their_own_initialisation(tmp_path):
    lanes = (
        {"seed": 0, "optimizer.learning_rate": 0.0005},
        {"seed": 3, "optimizer.learning_rate": 0.001, "model.init_scale": 1.2, "optimizer.mu": 0.1},
    )
    configs = lane_configs(make_tiny_1998_config, lanes)
    folders = [tmp_path / str(i) for i in range(2)]
    train_lanes(configs, folders)
    alone = tmp_path / "alone"
    loop.train_and_evaluate(configs[1], alone)
    ours, theirs = comparable(folders[1]), comparable(alone)
    assert [(r["step"], r["split"]) for r in ours] == [(r["step"], r["split"]) for r in theirs]
    np.testing.assert_allclose([r["loss"] for r in ours], [r["loss"] for r in theirs], rtol=1e-3)
    a, b = (json.loads((f / "step_sizes.jsonl").read_text()) for f in (folders[1], alone))
    assert a["all"]["max"] == pytest.approx(b["all"]["max"], rel=1e-3)
