"""Runs that start from other weights, and runs that keep some layers."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.cli.entry import main
from lenet_alexnet.data.preprocess.digits import create_preprocess
from lenet_alexnet.errors import DataError, Interrupted, UsageError
from lenet_alexnet.inference.evaluate import evaluate_workdirs
from lenet_alexnet.inference.open_run import open_run
from lenet_alexnet.losses import create_loss
from lenet_alexnet.models import create_model, layer_names
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.sweep.vmap import train_lanes
from lenet_alexnet.training import experiment as experiments
from lenet_alexnet.training import loop, warm_start
from lenet_alexnet.training.state import init_state
from lenet_alexnet.training.step import TrainStep
from lenet_alexnet.training.update import BatchUpdate
from lenet_alexnet.weights import names
from tests.helpers.runs import comparable, stop_after
from tests.helpers.tiny_configs import make_photo_config, make_tiny_1998_config
from tests.helpers.warm_starts import bits, make, params, run

CONVOLUTIONS = ("C1", "C3")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run with weights to start from."""
    workdir = tmp_path_factory.mktemp("source") / "w"
    run(workdir, **{"train.duration": "20 steps", "data.validation": "train[300:400]"})
    return workdir


# ---------------------------------------------------------------- init_from


def start_from(source, **more):
    return {"train.init_from": str(source), "train.duration": "30 steps", **more}


def test_a_run_starts_from_the_weights_of_another(source, tmp_path, capsys):
    run(tmp_path, **start_from(source, seed=3, **{"optimizer.learning_rate": 0.0}))
    assert bits(tmp_path) == bits(source)
    best = open_run(source)
    assert f"starting from {source}, step {best.step}\n" in capsys.readouterr().err
    begun = read_json(tmp_path / "run.json")["init_from"]
    assert (begun["path"], begun["step"], len(begun["sha256"])) == (str(source), best.step, 64)


@pytest.mark.slow
def test_a_resume_needs_no_source(source, tmp_path):
    gone, folder = tmp_path / "gone", tmp_path / "w"
    shutil.copytree(source, gone)
    config = make(**start_from(gone))
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, folder, stop_requested=stop_after(3))
    gone.rename(tmp_path / "moved")
    loop.train_and_evaluate(config, folder)
    (tmp_path / "moved").rename(gone)
    loop.train_and_evaluate(config, tmp_path / "undisturbed")
    assert bits(folder) == bits(tmp_path / "undisturbed")
    assert comparable(folder) == comparable(tmp_path / "undisturbed")
    records = [read_json(tmp_path / name / "run.json") for name in ("w", "undisturbed")]
    assert records[0]["init_from"] == records[1]["init_from"]


def test_the_head_is_drawn_again_for_other_classes(source):
    config = make(**start_from(source))
    built = experiments.build(config)
    model = create_model(name="lenet5", num_classes=7)
    start = warm_start.read(config, dataclasses.replace(built, model=model))
    assert start.note.endswith("; output is drawn at random: 10 classes there, 7 here")
    state = init_state(
        model,
        optax.sgd(0.1),
        built.preprocess,
        jax.random.key(5),
        jnp.asarray(built.blank),
        average=True,
    )
    after = start.apply(state, lambda new, old: jnp.asarray(new))
    expected = params(source) | {"output": state.params["output"]}
    for tree in (after.params, after.average):
        jax.tree.map(np.testing.assert_array_equal, tree, expected)


@pytest.mark.slow
def test_batch_statistics_go_along(colour_photos, tmp_path):
    bn = {"model.variant": "bn", "train.duration": "4 steps"}
    loop.train_and_evaluate(make_photo_config(colour_photos, **bn), tmp_path / "a")
    config = make_photo_config(colour_photos, **bn)
    with config.unlocked():
        config.train.init_from = str(tmp_path / "a")
        config.train.freeze = ("conv1", "bn1")
        config.optimizer.learning_rate = 0.0
    loop.train_and_evaluate(config, tmp_path / "b")
    a, b = (jax.device_get(open_run(tmp_path / name).variables) for name in "ab")
    jax.tree.map(np.testing.assert_array_equal, a["params"], b["params"])
    same = jax.tree.map(np.array_equal, a["batch_stats"], b["batch_stats"])
    assert same.pop("bn1") == {"mean": True, "var": True}
    assert set(jax.tree.leaves(same)) == {False}


def test_a_file_of_weights_is_as_the_run(source, tmp_path):
    file = tmp_path / "weights.npz"
    np.savez(file, **names.flatten(jax.device_get(open_run(source).variables)))
    config = make(**start_from(file))
    built = experiments.build(config)
    of_file, of_run = (warm_start.read(c, built) for c in (config, make(**start_from(source))))
    jax.tree.map(np.testing.assert_array_equal, of_file.variables, of_run.variables)
    assert of_file.record == of_run.record | {"path": str(file), "step": None}
    assert of_file.note == f"starting from {file}"
    model = create_model(name="lenet5", num_classes=7)
    start = warm_start.read(config, dataclasses.replace(built, model=model))
    assert start.variables["params"].keys() == {"C1", "C3", "C5", "F6"}
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"train\.init_from: cannot read"):
        warm_start.read(config, built)


def refused(workdir, error, words, **overrides):
    with pytest.raises(error, match=words) as caught:
        run(workdir, **overrides)
    assert "\n" not in str(caught.value)
    assert not (workdir / "config.json").exists()


def test_what_cannot_be_started_from_is_one_line(source, tmp_path):
    refused(tmp_path / "w", UsageError, "there is no such run", **start_from(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "w", UsageError, "no run directory", **start_from(tmp_path / "empty"))
    shutil.copy(source / "config.json", tmp_path / "empty")
    refused(tmp_path / "w", DataError, "no checkpoints yet", **start_from(tmp_path / "empty"))
    (tmp_path / "empty" / "checkpoints").mkdir()
    refused(tmp_path / "w", DataError, "no best checkpoint", **start_from(tmp_path / "empty"))


def test_another_network_is_refused_with_its_first_layer(source, tmp_path):
    config = make_tiny_1998_config()
    with config.unlocked():
        config.train.init_from = str(source)
    # C1, S2, C3 ...: C1 has another layout there.
    with pytest.raises(UsageError, match=r"C1's \w+ is (\[[\d, ]+\]|absent) there, \["):
        loop.train_and_evaluate(config, tmp_path)
    assert layer_names(create_model(name="lenet5")) == ("C1", "C3", "C5", "F6", "output")


def test_weights_that_are_not_finite_are_refused(source, tmp_path, monkeypatch):
    config = make(**start_from(source))
    built, real = experiments.build(config), warm_start._of_run

    def broken(*arguments):
        step, leaves = real(*arguments)
        leaves["params/F6/bias"] = leaves["params/F6/bias"] * np.nan
        return step, leaves

    monkeypatch.setattr(warm_start, "_of_run", broken)
    with pytest.raises(DataError, match="params/F6/bias has values that are not finite"):
        warm_start.read(config, built)


@pytest.mark.slow
def test_other_weights_at_the_same_place_are_refused(source, tmp_path):
    place, folder = tmp_path / "place", tmp_path / "w"
    shutil.copytree(source, place)
    config = make(**start_from(place))
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, folder, stop_requested=lambda: True)
    shutil.rmtree(folder / "checkpoints")  # As if it was killed before its first checkpoint.
    shutil.rmtree(place)
    run(place, seed=9, **{"train.duration": "20 steps"})
    with pytest.raises(UsageError, match="from other weights than those"):
        loop.train_and_evaluate(config, folder)


# ---------------------------------------------------------------- freeze


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "sgd2012"])
def test_frozen_layers_keep_their_bits(source, tmp_path, optimizer):
    more = {"train.freeze": CONVOLUTIONS, "train.average": 0.9, "train.accumulate": 2}
    config = make(**start_from(source, **more))
    with config.unlocked():
        if optimizer == "sgd2012":
            schedule = {"name": "constant"}
            config.optimizer = {"name": optimizer, "learning_rate": 0.01, "schedule": schedule}
            config.optimizer.weight_decay = 0.1
    loop.train_and_evaluate(config, tmp_path)
    before, after = bits(source), bits(tmp_path)
    kept = {name for name in before if before[name] == after[name]}
    assert kept == {f"{layer}.{leaf}" for layer in CONVOLUTIONS for leaf in ("kernel", "bias")}
    assert evaluate_workdirs([tmp_path], split="test")["examples"] == 110


def test_their_gradients_are_not_computed():
    model = create_model(name="lenet5")
    preprocess = create_preprocess(mean=0.0, std=1.0, pad=2, distort={"shift": 2.0})
    tx = optax.sgd(0.1, momentum=0.9)
    update = BatchUpdate(model=model, tx=tx, loss=create_loss(name="softmax"))
    step = TrainStep(update=update, preprocess=preprocess)

    def lowered(frozen):
        images, labels = jnp.zeros((4, 28, 28, 1), jnp.uint8), jnp.zeros(4, jnp.int32)
        key = jax.random.key(0)
        state = init_state(model, tx, preprocess, key, images[:1], frozen=frozen)
        moments = {layer for layer in ("C1", "C3", "C5", "F6") if layer in str(state.opt_state)}
        text = jax.jit(step).lower(state, images, labels, jnp.arange(4), key).as_text()
        return text.count("stablehlo.convolution"), moments

    # Forwards two; backwards C3's inputs and both kernels.
    assert lowered(()) == (5, {"C1", "C3", "C5", "F6"})
    assert lowered(("C1",)) == (3, {"C3", "C5", "F6"})
    assert lowered(CONVOLUTIONS) == (2, {"C5", "F6"})


@pytest.mark.slow
def test_the_second_derivatives_of_1998_leave_frozen_layers(tmp_path):
    config = make_tiny_1998_config()
    with config.unlocked():
        config.train.freeze = ("C1", "S2")
        config.train.duration = "1 epoch"
    loop.train_and_evaluate(config, tmp_path)
    sizes = json.loads((tmp_path / "step_sizes.jsonl").read_text().splitlines()[0])
    assert {"C3", "F6"} < sizes.keys()
    assert not {"C1", "S2"} & sizes.keys()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"train.freeze": ("ouput",)}, "train.freeze names 'ouput', no layer .*'output'"),
        ({"train.freeze": ("C1", "C3", "C5", "F6", "output")}, "nothing is left to train"),
        ({"optimizer.layer_rate": {"c1": 0.1}}, "optimizer.layer_rate names 'c1'.*'C1'"),
        ({"optimizer.layer_rate": {"C1": -0.1}}, r"layer_rate\.C1 -0\.1 is no number of at least"),
        ({"optimizer.layer_rate": 0.1}, "layer_rate 0.1 is no dict by layer"),
    ],
)
def test_layers_that_cannot_be_meant_are_one_line(tmp_path, overrides, words):
    config = make()
    with config.unlocked():
        for key, value in overrides.items():
            configs.part(config, key.rpartition(".")[0])[key.rpartition(".")[2]] = value
    with pytest.raises(UsageError, match=words):
        loop.train_and_evaluate(config, tmp_path)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.slow
def test_on_the_command_line(source, tmp_path, capsys):
    arguments = [
        "train",
        "--config=configs/lenet5_quickstart.py",
        "--config.data.train=train[:300]",
        "--config.data.test=test[:100]",
        "--config.train.duration=5 steps",
        f"--config.train.init_from={source}",
        "--config.train.freeze=('C1', 'C3')",
        "--config.optimizer.layer_rate={'C5': 0}",
    ]
    assert main(["", *arguments, f"--workdir={tmp_path / 'w'}"]) == 0
    before, after = bits(source), bits(tmp_path / "w")
    kept = {name.partition(".")[0] for name in before if before[name] == after[name]}
    assert kept == {"C1", "C3", "C5"}
    capsys.readouterr()
    wrong = ["--config.train.freeze=conv1", f"--workdir={tmp_path / 'x'}"]
    assert main(["", *arguments, *wrong]) == 2
    assert "train.freeze names 'conv1'" in capsys.readouterr().err


# ---------------------------------------------------------------- sweeps


@pytest.mark.slow
def test_lanes_start_from_the_same_weights_with_their_own_heads(source, tmp_path, monkeypatch):
    overrides = start_from(source, **{"train.freeze": ("C1",)})
    lanes = [make(**overrides, seed=seed) for seed in (0, 1)]
    folders = [tmp_path / str(seed) for seed in (0, 1)]
    train_lanes(lanes, folders)
    loop.train_and_evaluate(lanes[1], tmp_path / "alone")
    one, alone = params(folders[1]), params(tmp_path / "alone")
    assert np.array_equal(one["C1"]["kernel"], params(source)["C1"]["kernel"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), one, alone)
    records = [
        read_json(folder / "run.json")["init_from"] for folder in (*folders, tmp_path / "alone")
    ]
    assert records[0] == records[1] == records[2]
