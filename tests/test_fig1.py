"""Fig. 1 at full scale: its arms, their runs, and what is measured of them."""

import math

import pytest

from lenet_alexnet.cli.entry import main
from lenet_alexnet.models import create_model
from lenet_alexnet.reproduce import cifar10_fig1 as fig1
from lenet_alexnet.reproduce import records
from lenet_alexnet.reproduce.measured import measure
from lenet_alexnet.reproduce.run import load

PAIR = {"19pct/own/relu": fig1.Found(0.002, 5.5), "19pct/own/tanh": fig1.Found(0.001, 31.0)}


def curves(**arms):
    """Training errors of an epoch: 90 %, then 20 % from a seed's epoch on."""
    return [
        {"set": f"19pct/own/{arm}", "seed": str(seed), "split": "train"}
        | {"epoch": str(epoch), "error": "0.2" if epoch >= first else "0.3"}
        for arm, (length, *firsts) in arms.items()
        for seed, first in enumerate(firsts)
        for epoch in range(1, length + 1)
    ]


@pytest.mark.parametrize("arm", fig1.ARMS)
def test_an_arm_trains_its_network_without_regularisation(arm):
    net, weights, activation = arm.split("/")
    config = load(fig1.run(arm, fig1.Found(0.005, 7.2)))
    assert config.train.duration == "16 epochs"
    assert config.optimizer.learning_rate == 0.005
    assert (config.data.test, config.data.validation, config.data.train) == ("", "", "train")
    decays = [config.optimizer.weight_decay, *config.optimizer.layer_decay.to_dict().values()]
    assert not any(decays)
    assert (config.data.photo.place, config.data.photo.flip) == ("centre", False)
    assert config.model.variant == net
    assert config.data.photo.crop == (24 if net == "13pct" else 32)
    assert config.model.activation == activation
    own = create_model(name="cuda_convnet", variant=net, num_classes=10)
    assert (create_model(**config.model.to_dict()).stds == own.stds) == (weights == "own")
    assert config.data.photo.std == (1.0 if weights == "own" else fig1.PIXEL_STD)


def test_no_run_is_longer_than_the_search():
    assert load(fig1.run("13pct/own/tanh", fig1.Found(1.0, 40))).train.duration == "60 epochs"
    never = fig1.Found(1.0, math.inf)
    assert load(fig1.run("13pct/own/tanh", never)).train.duration == "60 epochs"


def test_times_are_of_the_two_runs_of_a_seed():
    runs = curves(relu=(8, 4, 5, 8, 9, 9), tanh=(40, 12, 20, 41, 12, 41))
    found = fig1.measure([], runs)
    assert found["19pct/own/relu"] == [3.5, 4.5, 7.5, math.inf, math.inf]
    assert found["19pct/own/tanh"] == [11.5, 19.5, math.inf, 11.5, math.inf]
    assert found["19pct/own/times"] == [11.5 / 3.5, 19.5 / 4.5, *(math.inf,) * 3]
    rows, _ = measure(fig1.scale(PAIR), [], runs)
    assert rows[0].verdict == "too wide"


@pytest.mark.parametrize(
    ("tanh", "word"), [(24, "reproduced"), (12, "not reproduced"), (36, "not reproduced")]
)
def test_six_times_is_missed_on_either_side(tanh, word):
    runs = curves(relu=(10, *(5,) * 5), tanh=(60, *(round(tanh * 4.5 / 4),) * 5))
    rows, verdicts = measure(fig1.scale(PAIR), [], runs)
    assert [row.row.label for row in rows] == ["19pct/own/times", *PAIR]
    assert rows[0].verdict == word
    assert [one.word for one in verdicts] == ["lower"]


def test_without_a_pair_of_rates_nothing_can_run():
    for found in ({}, {"19pct/own/relu": fig1.Found(0.002, 5.5)}):
        assert not fig1.scale(found).runs
        assert fig1.scale(found).why


def rows(arm, *trials):
    return [
        {"arm": arm, "learning_rate": f"{rate:.6g}", "epochs_to_25_percent": e, "error": error}
        for rate, e, error in trials
    ]


def test_the_search_ends_when_both_neighbours_are_worse():
    arm, tried = "19pct/own/relu", [(0.001, "9", "0.24")]
    assert fig1.next_power({}) == 0
    for rate, epochs, power in ((0.0015, "8", 2), (0.00225, "6", 3), (0.003375, "inf", None)):
        assert arm not in fig1.searched(rows(arm, *tried))
        tried.append((rate, epochs, "0.25"))
        assert fig1.next_power(fig1.trials(arm, rows(arm, *tried))) == power
    assert fig1.searched(rows(arm, *tried)) == {arm: fig1.Found(0.00225, 6.0)}
    # Another arm's trials, and one further away, do not matter.
    tried.append((0.0075937500001, "inf", "0.2"))
    other = rows("19pct/own/tanh", (0.001, "inf", "0.3"))
    assert fig1.searched(rows(arm, *tried) + other) == {arm: fig1.Found(0.00225, 6.0)}


def test_a_search_goes_down_if_the_first_rate_is_too_high():
    arm, tried = "13pct/scaled/tanh", [(0.01, "inf", "0.5"), (0.015, "inf", "0.6")]
    assert fig1.next_power(fig1.trials(arm, rows(arm, *tried))) == -1
    tried.append((0.00666667, "inf", "0.55"))
    # Where no rate gets there, the lowest error at the end counts.
    assert fig1.searched(rows(arm, *tried)) == {arm: fig1.Found(0.01, math.inf)}


def test_the_claim_has_the_arms_of_the_record():
    record = records.read(fig1.SELECTION)
    for row in record:
        assert float(row["learning_rate"]) in [fig1.rate(row["arm"], n) for n in range(-20, 20)]
    found = fig1.searched(record)
    assert found["19pct/own/relu"] == fig1.Found(0.003375, 6.0)
    assert fig1.scale(found) == fig1.FULL


def test_an_arm_without_test_data_is_recorded(tmp_path):
    flags = ["--config.train.duration=20 steps", "--config.train.log_every=10 steps"]
    flags += ["--config.data.test=", "--config.eval.every=0 steps"]
    flags += ["--config.data.validation=", f"--workdir={tmp_path / 'arm' / 'seed_0'}"]
    assert main(["lenet-alexnet", "train", "--config=lenet5_quickstart", *flags]) == 0
    results, _ = records.gather({"arm": tmp_path / "arm"}, clean=False)
    assert [(row["set"], row["test_error"]) for row in results] == [("arm", "")]
    records.save(tmp_path / "e", *records.gather({"arm": tmp_path / "arm"}, clean=False))
    assert "| arm |" in records.table(records.read(tmp_path / "e" / "results.csv"))
