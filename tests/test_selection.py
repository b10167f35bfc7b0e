"""Settings chosen for each arm on held-out images: from the sweep to the record to the claims."""

import json

import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.config import shipped
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.info import network
from lenet_alexnet.models import create_model
from lenet_alexnet.reproduce import cifar10_13_to_11 as why
from lenet_alexnet.reproduce import cifar10_one_change as changes
from lenet_alexnet.reproduce import collect, records, selection
from lenet_alexnet.reproduce.measured import measure
from lenet_alexnet.reproduce.run import load
from lenet_alexnet.sweep.expand import expand
from lenet_alexnet.sweep.trials import Sweep
from tests.helpers.sweep_files import fake, trials_of

RATES = (0.01, 0.02, 0.04)
TRIED = selection.Selection(
    "x",
    {"base": {}, "relu": {"model.activation": "relu"}},
    [{"optimizer.learning_rate": rate} for rate in RATES],
)


def a_sweep(folder, errors, *, dirty=False):
    """The sweep's trials with these held-out errors; "diverged", and None: it has not ended."""
    sweep = Sweep(folder)
    for trial, error in zip(trials_of(TRIED.overrides()), errors, strict=True):
        sweep.folder(trial.id).mkdir(parents=True)
        sweep.add(trial)
        if error is not None:
            status = error if error == "diverged" else "completed"
            fake(sweep, trial, 0.5 if error == "diverged" else error, status)
            run = {"git_dirty": dirty, "git_commit": "abc"}
            (sweep.folder(trial.id) / "run.json").write_text(json.dumps(run))
    return folder


def chosen_from(workdir, folder):
    """By way of the record, as the claims read it."""
    folder.mkdir()
    selection.save(TRIED.gather(workdir), folder)
    return TRIED.chosen(records.read(folder / selection.RECORD))


def test_each_arm_has_the_setting_with_its_lowest_error(tmp_path):
    workdir = a_sweep(tmp_path / "sweep", [0.3, 0.2, 0.4, 0.1, "diverged", 0.15])
    rows = TRIED.gather(workdir)
    assert [(row["arm"], row["error"]) for row in rows[2:5]] == [
        ("base", 0.4),
        ("relu", 0.1),
        ("relu", ""),
    ]
    assert {(row["seed"], row["epochs"], row["commit"]) for row in rows} == {
        (100, "60 steps", "abc")
    }
    assert chosen_from(workdir, tmp_path / "record") == {
        "base": {"optimizer.learning_rate": 0.02},
        "relu": {"optimizer.learning_rate": 0.01},
    }


@pytest.mark.parametrize("missing", [(0.1, 0.2, None), ("diverged",) * 3])
def test_an_arm_without_a_complete_search_is_left_out(missing, tmp_path):
    workdir = a_sweep(tmp_path / "sweep", [*missing, 0.2, 0.2, 0.2])
    # Of equal errors, the first setting.
    expected = {"relu": {"optimizer.learning_rate": 0.01}}
    assert chosen_from(workdir, tmp_path / "record") == expected


def test_trials_of_a_changed_checkout_are_refused(tmp_path):
    workdir = a_sweep(tmp_path / "sweep", [0.1] * 6, dirty=True)
    with pytest.raises(DataError, match="changed checkout"):
        TRIED.gather(workdir)


def test_select_writes_the_record_of_an_experiment(tmp_path, monkeypatch, capsys):
    (tmp_path / "experiments" / "x").mkdir(parents=True)
    monkeypatch.setattr(collect, "ROOT", tmp_path)
    monkeypatch.setattr(collect, "SELECTIONS", {"x": TRIED})
    workdir = a_sweep(tmp_path / "sweep", [0.3, 0.2, 0.4, 0.1, 0.2, 0.3])
    collect.main(["select", "x", str(workdir)])
    assert capsys.readouterr().out == (
        "base: optimizer.learning_rate=0.02\nrelu: optimizer.learning_rate=0.01\n"
    )
    assert len(records.read(tmp_path / "experiments" / "x" / "selection.csv")) == 6
    with pytest.raises(UsageError, match="did you mean 'x'"):
        collect.main(["select", "xx", str(workdir)])
    with pytest.raises(UsageError, match="no trial of this experiment"):
        collect.main(["select", "x", str(tmp_path / "empty")])


CLAIMS = {"cifar10_13_to_11": why, "cifar10_one_change": changes}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_sweep_tries_the_settings_on_held_out_images(name):
    file = configs.load(str(shipped.CONFIGS / "sweeps" / f"{name}.py"))
    base = file.get_config()
    assert (base.data.train, base.data.test) == ("train[:45000]", "")
    assert base.data.validation == "train[45000:]"
    trials, repeated = expand(file, base, name)
    one = CLAIMS[name].SELECTION
    assert (len(trials), repeated) == (len(one.arms) * len(one.grid), 0)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_runs_of_a_claim_have_the_chosen_settings_and_all_images(name):
    claim = CLAIMS[name]
    chosen = dict.fromkeys(claim.ARMS, claim.SELECTION.grid[-1])
    scale = claim.scale(chosen)
    assert {row.label for row in scale.rows} >= scale.sets.keys()
    for label, runs in scale.sets.items():
        config = load(runs)
        assert (config.data.train, config.data.test) == ("train", "test")
        flat = configs.flatten(config)
        for key, value in {**claim.ARMS.get(label, {}), **chosen.get(label, {})}.items():
            assert flat[key] == (list(value) if isinstance(value, tuple) else value)
    labels = {row.label for row in scale.rows}
    assert {label for c in scale.comparisons for label in c[:2]} <= labels
    assert not claim.scale({}).runs


def test_the_longer_run_is_as_long_as_the_published_one():
    published = load(why.scale({"length": {}}).sets["length"])
    other = configs.load(str(shipped.CONFIGS / "cifar10_11pct.py")).get_config()
    assert published.train.duration == other.train.duration
    assert published.optimizer.schedule.boundaries == other.optimizer.schedule.boundaries


def test_together_the_differences_are_the_other_network():
    both = {key: value for arm in why.ARMS.values() for key, value in arm.items()}
    both |= why.LENGTH
    changed = load(why.Set(why.CONFIG, both))
    other = configs.load(str(shipped.CONFIGS / "cifar10_11pct.py")).get_config()
    models = [create_model(**config.model.to_dict()) for config in (changed, other)]
    assert models[0] == models[1]
    flat, published = configs.flatten(changed), configs.flatten(other)
    different = {key for key in flat | published if flat.get(key) != published.get(key)}
    assert {key for key in different if not key.startswith("model.")} == set()


def parameters(arm):
    """Of the network of an arm of 020."""
    config = load(changes.scale({arm: {}}).sets[arm])
    model = create_model(**config.model.to_dict())
    return network.describe(model, model.input_shape)["total_params"]


def test_the_networks_with_one_change():
    counts = {arm: parameters(arm) for arm in changes.ARMS}
    base = counts["base"]
    assert base == 89_578
    assert counts["four convolutions"] == base + 64 * 25 * 64 + 64
    assert counts["four narrower convolutions"] == pytest.approx(base, rel=0.002)
    # A convolution is left out with its pool, so that fc10 has 64 instead of 16 places.
    # The first two have the same maps, but other pools.
    assert counts["no conv1"] == counts["no conv2"] == 2_432 + 51_264 + 40_970
    assert counts["no conv3"] == 2_432 + 25_632 + 20_490
    assert counts["24 pixels"] == base - 10 * 64 * (16 - 9)
    same = {"windows of 2x2", "only maxima", "dropout", "norm within maps", "norm across maps"}
    assert {arm for arm in counts if counts[arm] == base} == same | {"base"}


def test_a_gap_is_judged_beside_the_errors():
    rows = [
        {"set": arm, "seed": str(seed), "test_error": str(0.2 + 0.001 * seed)}
        for arm in ("crops", "24 pixels")
        for seed in range(5)
    ]
    curves = [
        {"set": row["set"], "seed": row["seed"], "split": "validation"}
        | {"epoch": str(epoch), "error": error}
        for row in rows
        for epoch, error in ((1, "0.9"), (42, "0.18" if row["set"] == "crops" else "0.05"))
    ]
    chosen = dict.fromkeys(("crops", "24 pixels"), changes.SELECTION.grid[0])
    found, verdicts = measure(changes.scale(chosen), rows, curves)
    by_label = {m.row.label: m.values for m in found}
    assert by_label["gap, crops"] == pytest.approx([2.0, 2.1, 2.2, 2.3, 2.4])
    words = {v.sentence.partition(":")[0]: v.word for v in verdicts}
    assert words["size of gap, crops against gap, 24 pixels"] == "lower"
    assert words["test error of crops against 24 pixels"] == "not significant"
    assert words["test error of dropout against base"] == "too few seeds"
