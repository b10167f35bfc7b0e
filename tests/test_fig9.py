"""LeCun et al. 1998, Fig. 9: the networks without convolutions, and nearest neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.cli import main
from lenet_alexnet.data import InMemory, load_split
from lenet_alexnet.errors import DataError
from lenet_alexnet.info import network
from lenet_alexnet.models import create_model
from lenet_alexnet.optimizers.sdlm import curvature
from lenet_alexnet.reproduce import catalogue, neighbours, records
from lenet_alexnet.reproduce import run as runner
from tests.helpers import ROOT


@pytest.mark.parametrize(
    ("hidden", "params", "multiply_adds"),
    [
        ((), 7_850, 7_840),  # p. 10 has 7,850
        ((300,), 238_510, 238_200),
        ((1000,), 795_010, 794_000),  # Fig. 11: 795 thousand
        ((300, 100), 266_610, 266_200),  # 267
        ((500, 150), 469_160, 468_500),  # 469
    ],
)
def test_networks_have_the_sizes_of_fig_11(hidden, params, multiply_adds):
    model = create_model(name="mlp_1998", hidden=hidden)
    found = network.describe(model, model.input_shape)
    assert found["total_params"] == params
    assert found["total_multiply_adds"] == multiply_adds


def test_a_network_is_its_formula(rng):
    model = create_model(name="mlp_1998", hidden=(5,))
    images = rng.normal(size=(3, 28, 28, 1)).astype(np.float32)
    params = jax.jit(model.init)(jax.random.key(0), images)["params"]
    x = images.reshape(3, -1).astype(np.float64)
    for layer in ("H1", "output"):
        a = x @ np.asarray(params[layer]["kernel"]) + np.asarray(params[layer]["bias"])
        x = 1.7159 * np.tanh(2 / 3 * a)
    targets = np.where(np.eye(10), 1.0, -1.0)
    penalties = [[((state - target) ** 2).sum() for target in targets] for state in x]
    scores = jax.jit(model.apply)({"params": params}, images)
    np.testing.assert_allclose(scores, -np.array(penalties), rtol=1e-4)


def test_the_curvature_of_one_layer_is_that_of_least_squares(rng):
    # The second derivative of the squared error by a sum is 2 f'^2 (Gauss-Newton), by a weight that
    # times the square of its input; no other class's output depends on the weight.
    model = create_model(name="mlp_1998", hidden=())
    images = jnp.asarray(rng.normal(size=(4, 28, 28, 1)), jnp.float32)
    params = jax.jit(model.init)(jax.random.key(0), images)["params"]
    found = jax.jit(lambda p, x: curvature(model, p, x))(params, images)["output"]
    x = np.asarray(images, np.float64).reshape(4, -1)
    a = x @ np.asarray(params["output"]["kernel"]) + np.asarray(params["output"]["bias"])
    slope = 1.7159 * 2 / 3 / np.cosh(2 / 3 * a) ** 2
    np.testing.assert_allclose(found["kernel"], (x**2).T @ (2 * slope**2) / 4, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found["bias"], (2 * slope**2).mean(0), rtol=1e-3)


@pytest.mark.parametrize("name", ["lenet5_fig9_linear", "lenet5_fig9_mlp_distorted"])
def test_the_claims_train_the_networks_that_they_name(name):
    for label, one in catalogue.CLAIMS[name].full.sets.items():
        config = runner.load(one)
        hidden = "-".join(map(str, config.model.hidden))
        assert label == (f"{hidden}, distorted" if hidden else "linear")
    if hidden:  # LeNet-5 had these distortions when these networks were measured.
        other = configs.load(str(ROOT / "configs" / "lenet5_1998_distorted.py")).get_config().data
        other.distort.squeeze = 0.15
        assert config.data.distort == other.distort
        assert (config.data.variants, config.data.interpolation) == (
            other.variants,
            other.interpolation,
        )


@pytest.mark.slow
def test_a_network_learns_by_the_optimizer_of_1998(tmp_path, capsys):
    code = main(
        [
            "lenet-alexnet",
            "train",
            "--config",
            str(ROOT / "configs" / "mlp_1998.py"),
            f"--workdir={tmp_path}",
            "--config.data.source=embedded",
            "--json",
            "--config.data.train=train[:1000]",
            "--config.data.test=test[:500]",
            "--config.model.hidden=(20,)",
            "--config.train.duration=3 epochs",
            "--config.optimizer.curvature.examples=100",
        ]
    )
    assert code == 0
    (row,), _ = records.gather({"net": tmp_path}, clean=False)
    assert row["test_error"] < 0.25  # of ten classes


# ---------------------------------------------------------------- nearest neighbours


def test_neighbours_are_those_of_a_plain_loop(rng):
    images = rng.integers(0, 256, (200, 4, 4, 1), np.uint8)
    queries = rng.integers(0, 256, (300, 4, 4, 1), np.uint8)  # more than a block
    labels = rng.integers(0, 3, 200).astype(np.int32)
    ks = (1, 4, 5)
    found = neighbours.classify(images, labels, queries, ks)
    for query, answers in zip(queries, found.T, strict=True):
        distances = [int(((query.astype(int) - image) ** 2).sum()) for image in images]
        nearest = [int(labels[i]) for i in np.argsort(distances, kind="stable")]
        for k, answer in zip(ks, answers, strict=True):
            counts = [nearest[:k].count(c) for c in range(3)]
            tied = [c for c in range(3) if counts[c] == max(counts)]
            assert answer == min(tied, key=nearest.index)


def test_k_is_chosen_on_images_that_are_held_out():
    train = load_split(
        source="embedded", name="", data_dir="", split="train[:900]", image_size=28, channels=1
    )
    k, errors = neighbours.choose_k(train, 600)
    assert errors[k] == min(errors.values())
    assert 0.05 < errors[k] < 0.2
    # If the held-out images were among the training images, each would find itself.
    answers = neighbours.classify(train.images, train.labels, train.images[600:], (1,))[0]
    assert (answers == train.labels[600:]).all()


def test_the_claim_of_neighbours_is_computed(monkeypatch):
    images = np.zeros((12, 28, 28, 1), np.uint8)
    images[::2] = 255
    split = InMemory(images, np.arange(12, dtype=np.int32) % 2, tuple("0123456789"))
    monkeypatch.setattr(neighbours, "load", lambda config, name: split)
    (row,) = runner.compute(catalogue.CLAIMS["lenet5_fig9_knn"].full, "")
    assert (row["set"], row["test_error"]) == ("k-NN", 0.0)


# ---------------------------------------------------------------- an experiment of several claims


def rows(name, n):
    results = [{"set": name, "seed": seed, "test_error": 0.1} for seed in range(n)]
    return results, [{"set": name, "seed": 0, "epoch": 1.0, "split": "test", "error": 0.1}]


def test_records_of_other_sets_are_kept(tmp_path):
    for found in (rows("a", 3), rows("b", 2), rows("a", 4)):
        records.save(tmp_path, *records.merged(tmp_path, *found))
    sets = [row["set"] for row in records.read(tmp_path / "results.csv")]
    assert sets == ["b", "b", "a", "a", "a", "a"]
    assert len(records.read(tmp_path / "curves.csv")) == 2
    with pytest.raises(DataError, match="already has 4 runs of 'a'"):
        records.merged(tmp_path, *rows("a", 3))
