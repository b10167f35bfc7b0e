from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import ops
from lenet_alexnet.models import create_model, features
from lenet_alexnet.models.alexnet.layers import Dropout
from tests.helpers.naive_alexnet import naive_conv, naive_net, random_params

alexnet = partial(create_model, name="alexnet")


@pytest.mark.parametrize(
    ("variant", "switches"),
    [
        ("paper", {"conv6": True}),
        ("paper", {"pool": "2/2", "image_size": 74}),
        ("source2012", {}),
        ("caffe", {"image_size": 67}),
        ("caffenet", {"image_size": 67}),
        ("single", {"channels": 1}),
        ("owt", {"image_size": 63}),
    ],
)
def test_equals_a_naive_net(rng, variant, switches):
    model = alexnet(
        variant=variant, num_classes=7, **({"image_size": 64, "dense_width": 64} | switches)
    )
    params = random_params(model, rng)
    images = 30 * rng.standard_normal((2, *model.input_shape), np.float32)
    found = jax.jit(model.apply)({"params": params}, images)
    pool = 2 if switches.get("pool") == "2/2" else 3
    keep = 0.5 if variant in ("paper", "source2012", "single") else 1.0
    expected = np.array([naive_net(params, x, variant, pool, keep) for x in images])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_features_by_name_and_what_the_towers_see(rng):
    model = alexnet(num_classes=5, image_size=64, dense_width=64)
    params = random_params(model, rng)
    other = jax.tree.map(np.copy, params)
    other["conv1"]["kernel"][1] = 0  # Tower b sees nothing.
    images = 30 * rng.standard_normal((2, 64, 64, 3), np.float32)
    maps, changed = (jax.jit(partial(features, model))(p, images) for p in (params, other))
    assert {name: value.shape[1:] for name, value in maps.items()} == {
        "conv1": (15, 15, 96),
        "norm1": (15, 15, 96),
        "pool1": (7, 7, 96),
        "conv2": (7, 7, 256),
        "norm2": (7, 7, 256),
        "pool2": (3, 3, 256),
        "conv3": (3, 3, 384),
        "conv4": (3, 3, 384),
        "conv5": (3, 3, 256),
        "pool5": (1, 1, 256),
        "fc6": (64,),
        "drop6": (64,),
        "fc7": (64,),
        "drop7": (64,),
        "fc8": (5,),
    }
    for name, first in (("conv1", 48), ("conv2", 128)):
        np.testing.assert_array_equal(maps[name][..., :first], changed[name][..., :first])
        assert np.abs(maps[name] - changed[name])[..., first:].max() > 1
    assert np.abs(maps["conv3"] - changed["conv3"])[..., :192].max() > 1


def test_the_source_normalises_before_the_first_relu(rng):
    images = 30 * rng.standard_normal((1, 64, 64, 3), np.float32)
    least = {}
    for variant in ("paper", "source2012"):
        model = alexnet(variant=variant, num_classes=5, image_size=64, dense_width=64)
        maps = jax.jit(partial(features, model))(random_params(model, rng), images)
        least[variant] = [float(maps[name].min()) for name in ("conv1", "norm1", "conv2")]
    assert least["paper"] == [0, 0, 0]
    assert np.sign(least["source2012"]).tolist() == [-1, -1, 0]


@pytest.mark.parametrize(
    ("variant", "stds", "biases"),
    [
        ("paper", [0.01] * 8, [0, 1, 0, 1, 1, 1, 1, 0]),
        ("source2012", [0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01], [0, 1, 0, 1, 1, 1, 1, 0]),
        ("caffe", [0.01] * 5 + [0.005, 0.005, 0.01], [0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0]),
    ],
)
def test_initialisation(variant, stds, biases):
    model = alexnet(variant=variant, num_classes=20, image_size=64, dense_width=64)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    found = [np.asarray(params[name]["kernel"]).std() for name in names]
    np.testing.assert_allclose(found, stds, rtol=0.05)
    for name, bias in zip(names, biases, strict=True):
        np.testing.assert_allclose(params[name]["bias"], bias)
    shapes = {name: params[name]["kernel"].shape for name in ("conv1", "conv2", "conv3", "fc7")}
    assert shapes == {
        "conv1": (2, 11, 11, 3, 48),
        "conv2": (2, 5, 5, 48, 128),
        "conv3": (2, 3, 3, 256, 192),
        "fc7": (2, 64, 32),
    }
    assert (params["fc8"]["kernel"].shape, params["fc8"]["bias"].shape) == ((2, 32, 20), (20,))


@pytest.mark.parametrize(("form", "kept", "tested"), [("mask", 3, 0.75), ("inverted", 4, 1)])
def test_dropout_forms(form, kept, tested):
    layer = Dropout(0.25, form)
    xs = [jnp.full((64, 500), value) for value in (3.0, 3.0)]

    @jax.jit
    def dropped(key, xs):
        return layer.apply({}, xs, key)

    out = dropped(jax.random.key(0), xs)
    assert {float(v) for v in np.unique(out)} == {0.0, float(kept)}
    assert abs(np.mean(np.array(out) > 0) - 0.75) < 0.01
    assert len(np.unique(np.concatenate(out), axis=0)) == 128  # Every mask is different.
    fewer = dropped(jax.random.key(0), [x[:5] for x in xs])
    np.testing.assert_array_equal(fewer[1], out[1][:5])  # It depends only on the position.
    assert np.mean(np.array(dropped(jax.random.key(1), xs)) != np.array(out)) > 0.3
    np.testing.assert_allclose(layer.apply({}, xs)[0], 3 * tested)


def test_torchvision_drops_before_the_full_connections():
    model = alexnet(variant="owt", num_classes=5, image_size=64, dense_width=64)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    maps = jax.eval_shape(partial(features, model), params, jnp.zeros((1, 64, 64, 3)))
    assert {name: value.shape[1:] for name, value in maps.items() if "drop" in name} == {
        "drop6": (256,),
        "drop7": (64,),
    }


@pytest.mark.slow
def test_batch_norm_takes_the_batch_in_training_and_the_averages_in_testing(rng):
    model = alexnet(variant="bn", num_classes=5, image_size=64, dense_width=64)
    init = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    params, start = init["params"], init["batch_stats"]
    assert params["conv1"].keys() == {"kernel"}
    assert start["bn1"]["mean"].shape == (2, 48)
    images = jnp.asarray(3 + rng.standard_normal((8, 64, 64, 3), np.float32))

    @jax.jit
    def train(batch_stats):
        variables = {"params": params, "batch_stats": batch_stats}
        rngs = {"dropout": jax.random.key(1)}
        collections = ["batch_stats", "intermediates"]
        _, state = model.apply(
            variables, images, rngs=rngs, mutable=collections, capture_intermediates=True
        )
        return state

    state = train(start)
    normed = np.concatenate([ops.nhwc(y) for y in state["intermediates"]["bn1"]["__call__"][0]], -1)
    np.testing.assert_allclose(normed.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(normed.std((0, 1, 2)), 1, rtol=0.02)

    kernel = np.asarray(params["conv1"]["kernel"])
    a = np.stack([naive_conv(x, kernel[1], 0, 4, 0, 3) for x in images])  # 64 -> 15, 3 over
    found = state["batch_stats"]["bn1"]
    np.testing.assert_allclose(found["mean"][1], 0.1 * a.mean((0, 1, 2)), rtol=1e-3, atol=1e-5)
    expected = 0.9 + 0.1 * a.var((0, 1, 2))
    np.testing.assert_allclose(found["var"][1], expected, rtol=1e-4)

    stats = state["batch_stats"]
    maps = jax.jit(partial(features, model))(params, images[:1], batch_stats=stats)
    scaled = (a[:1] - found["mean"][1]) / np.sqrt(found["var"][1] + 1e-4)
    np.testing.assert_allclose(maps["bn1"][..., 48:], scaled, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_one_step_in_bfloat16_at_64_pixels():
    model = alexnet(num_classes=10, image_size=64, dense_width=64, precision="bfloat16")
    x = jax.random.normal(jax.random.key(1), (4, 64, 64, 3))
    params = jax.jit(model.init)(jax.random.key(0), x)["params"]

    @jax.jit
    def step(params, key):
        def loss(params):
            logits = model.apply({"params": params}, x, rngs={"dropout": key})
            return -jax.nn.log_softmax(logits)[:, 3].mean(), logits

        gradients, logits = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradients), logits

    after, logits = step(params, jax.random.key(2))
    assert logits.dtype == jnp.float32
    assert {leaf.dtype.name for leaf in jax.tree.leaves(after)} == {"float32"}
    for name in ("conv1", "conv5", "fc6", "fc8"):
        assert float(jnp.abs(after[name]["kernel"] - params[name]["kernel"]).max()) > 0
    exact = jax.jit(alexnet(num_classes=10, image_size=64, dense_width=64).apply)(
        {"params": params}, x
    )
    half = jax.jit(model.apply)({"params": params}, x)
    assert 0 < float(jnp.abs(exact - half).max()) < 0.02 * float(jnp.abs(exact).max())
