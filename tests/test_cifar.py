"""The small network for CIFAR-10: sizes by hand, and each switch has its effect."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet.data.preprocess.photos import create_photo_preprocess
from lenet_alexnet.errors import UsageError
from lenet_alexnet.models import create_model, features
from lenet_alexnet.reproduce.catalogue import CLAIMS
from lenet_alexnet.reproduce.cifar10_small import DEPTHS, FIG1
from lenet_alexnet.reproduce.fig1 import epochs_to

IMAGES = jax.random.normal(jax.random.key(1), (2, 24, 24, 3))


def params_of(model):
    shapes = jax.eval_shape(model.init, jax.random.key(0), IMAGES)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def outputs(**options):
    """Every layer's output, with the same weights for networks of the same sizes."""
    model = create_model(name="convnet", **options)

    @jax.jit
    def run(images):
        params = model.init(jax.random.key(0), images)["params"]
        return features(model, params, images)

    return run(IMAGES)


def test_parameters_by_hand():
    conv = 3 * 9 * 8 + 8 + 8 * 9 * 16 + 16 + 16 * 9 * 32 + 32
    assert params_of(create_model(name="convnet")) == conv + 9 * 32 * 10 + 10 == 8_922
    hidden = create_model(name="convnet", dense_width=128)
    assert params_of(hidden) == conv + 9 * 32 * 128 + 128 + 128 * 10 + 10


def test_nets_of_every_depth_have_as_many_parameters():
    counts = [params_of(create_model(name="convnet", widths=w)) for w in DEPTHS.values()]
    assert [len(widths) for widths in DEPTHS.values()] == [2, 3, 4, 5]
    assert max(abs(n / 8_922 - 1) for n in counts) < 0.02


@pytest.mark.parametrize("pooling", ["average", "2/2", "3/2"])
def test_pooling(pooling):
    found = outputs(pooling=pooling, widths=(4, 4, 4))
    assert found["pool1"].shape == (2, 12, 12, 4)
    assert found["pool3"].shape == (2, 3, 3, 4)
    x, y = np.asarray(found["conv1"]), np.asarray(found["pool1"])
    size = int(pooling[0]) if pooling != "average" else 2
    reduce = np.mean if pooling == "average" else np.max
    for i, j in ((0, 0), (4, 7), (11, 11)):  # The last 3x3 window reaches over the edge.
        window = x[:, 2 * i : 2 * i + size, 2 * j : 2 * j + size]
        np.testing.assert_allclose(y[:, i, j], reduce(window, axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", lambda x: np.maximum(x, 0)),
        ("tanh", np.tanh),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    ],
)
def test_activation(activation, function):
    sizes = {"widths": (4, 4), "kernel_size": 1}
    model = create_model(name="convnet", activation=activation, **sizes)
    params = jax.jit(model.init)(jax.random.key(0), IMAGES)["params"]
    found = jax.jit(lambda p, x: features(model, p, x)["conv1"])(params, IMAGES)
    sums = np.asarray(IMAGES) @ np.asarray(params["conv1"]["kernel"])[0, 0, 0]
    np.testing.assert_allclose(found, function(sums), rtol=1e-4, atol=1e-6)


def test_normalisation_divides_by_its_neighbours():
    found = outputs(response_norm=0.5, widths=(6, 4, 4))
    x, y = np.asarray(found["conv1"]), np.asarray(found["norm1"])
    divisor = (2 + 0.5 * (x[..., 0:5] ** 2).sum(-1)) ** 0.75
    np.testing.assert_allclose(y[..., 2], x[..., 2] / divisor, rtol=1e-5)
    assert "norm3" not in found
    assert "norm1" not in outputs(widths=(6, 4, 4))


def test_dropout_is_on_in_training_alone():
    model = create_model(name="convnet", dense_width=64, dropout=0.5, widths=(4, 4))
    params = jax.jit(model.init)(jax.random.key(0), IMAGES)["params"]

    @jax.jit
    def dropped(key):
        _, state = model.apply(
            {"params": params}, IMAGES, rngs={"dropout": key}, capture_intermediates=True
        )
        found = state["intermediates"]
        return found["dense"]["__call__"][0][0], found["drop"]["__call__"][0][0]

    before, after = (np.asarray(x) for x in dropped(jax.random.key(2)))
    on = before > 0
    kept = after[on] > 0
    assert 0.25 < kept.mean() < 0.75
    np.testing.assert_allclose(after[on][kept], 2 * before[on][kept], rtol=1e-5)
    test = jax.jit(lambda: features(model, params, IMAGES)["drop"])()
    np.testing.assert_allclose(test, before, rtol=1e-5)


def test_unknown_values_are_refused():
    with pytest.raises(UsageError, match="did you mean 'average'"):
        create_model(name="convnet", pooling="averge")
    with pytest.raises(UsageError, match="place 'center': did you mean 'centre'"):
        create_photo_preprocess(
            image_size=32, crop=24, statistics=None, mean="none", colour_noise=0.0, place="center"
        )


def test_the_central_crop_is_what_testing_sees():
    images = np.arange(2 * 32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(2, 32, 32, 3)
    preprocess = create_photo_preprocess(
        image_size=32,
        crop=24,
        statistics=None,
        mean="none",
        flip=False,
        colour_noise=0.0,
        place="centre",
    )
    keys = jax.random.split(jax.random.key(0), 2)
    trained = jax.jit(lambda x, k: preprocess(x, k))(jnp.asarray(images), keys)
    np.testing.assert_array_equal(trained, preprocess(jnp.asarray(images), None))
    np.testing.assert_array_equal(trained, images[:, 4:28, 4:28])


def test_epochs_until_a_training_error_between_two_epochs():
    curves = [
        {"set": name, "seed": "0", "split": split, "epoch": str(epoch), "error": str(error)}
        for name, split, errors in (
            ("relu", "train", (0.9, 0.5, 0.3, 0.2)),
            ("relu", "test", (0.1, 0.1, 0.1, 0.1)),
            ("tanh", "train", (0.9, 0.8, 0.7, 0.6)),
        )
        for epoch, error in enumerate(errors, 1)
    ]
    assert epochs_to(0.25, curves) == {"relu": [pytest.approx(3.5)], "tanh": [math.inf]}
    assert FIG1.measure is not None
    assert FIG1.measure([], curves)["times"] == [math.inf]
    # All are cut to the length of the shortest; a run that is there after one epoch counts too.
    first = {"set": "tanh", "seed": "1", "split": "train", "epoch": "1", "error": "0.2"}
    assert epochs_to(0.25, [*curves, first]) == {"relu": [math.inf], "tanh": [math.inf, 1.0]}


def test_the_gap_is_test_minus_training_images_at_the_end():
    results = [{"set": "none", "seed": "1", "test_error": "0.5"}]
    curves = [
        {"set": "none", "seed": "1", "split": "validation", "epoch": epoch, "error": error}
        for epoch, error in (("4", "0.4"), ("8", "0.2"))
    ]
    measure = CLAIMS["alexnet_crops"].small.measure
    assert measure is not None
    found = measure(results, curves)
    assert found == {"none": [pytest.approx(50)], "gap, none": [pytest.approx(30)]}
