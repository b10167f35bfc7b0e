import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import ops
from lenet_alexnet.errors import UsageError
from lenet_alexnet.info import network
from lenet_alexnet.models import create_model
from lenet_alexnet.ops.layouts import HWNC
from tests.helpers.naive_cuda_convnet import naive_average, naive_local, naive_net

# Parameters, and millions of multiply-adds of convolutions, local and dense layers.
COUNTS = {
    "80sec": (145_578, 12.4),
    "19pct": (89_578, 12.3),
    "18pct": (89_578, 12.3),
    "13pct": (1_116_490, 18.5),
    "11pct": (2_112_970, 19.5),
}


@pytest.mark.parametrize("variant", COUNTS)
def test_counts(variant):
    model = create_model(name="cuda_convnet", variant=variant)
    described = network.describe(model, model.input_shape)
    assert described["total_params"] == COUNTS[variant][0]
    assert round(described["total_multiply_adds"] / 1e6, 1) == COUNTS[variant][1]


def scaled(model, key):
    """Parameters large enough for every layer and norm to matter, biases included."""
    images = jnp.zeros((1, *model.input_shape))
    params = jax.eval_shape(model.init, key, images)["params"]  # their shapes
    keys = iter(jax.random.split(key, 100))
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: (
            jax.random.normal(next(keys), leaf.shape)
            * (2 / math.prod(leaf.shape[1:]) ** 0.5 if path[-1].key == "kernel" else 0.3)
        ),
        params,
    )


@pytest.mark.parametrize("form", ["plain", "auto"])
@pytest.mark.parametrize("blocks", [*COUNTS, "plain pools"])
def test_logits_are_those_of_naive_loops(blocks, form):
    # Narrow, so that the loops are quick; 21 pixels: pools reach over both kinds of edge.
    options = {"local_widths": (6, 5)} if blocks in ("13pct", "11pct") else {}
    options["widths"] = (12, 10) if options else (12, 10, 8)
    if blocks == "plain pools":
        options["pools"] = ("max_2x2", "average_2x2", "none")
    else:
        options["variant"] = blocks
    model = create_model(name="cuda_convnet", image_size=21, conv_form=form, **options)
    params = scaled(model, jax.random.key(3))
    x = 60 * jax.random.normal(jax.random.key(1), (2, 21, 21, 3))
    found = jax.jit(model.apply)({"params": params}, x)
    tree = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    for image, logits in zip(np.asarray(x, np.float64), found, strict=True):
        expected = naive_net(tree, image, blocks)
        assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.slow
def test_initial_weights_are_those_of_the_parameter_files():
    model = create_model(name="cuda_convnet", variant="11pct")
    params = model.init(jax.random.key(0), jnp.zeros((1, 24, 24, 3)))["params"]
    stds = {name: float(layer["kernel"].std()) for name, layer in params.items()}
    wanted = {"conv1": 1e-4, "conv2": 0.01, "local3": 0.04, "local4": 0.04, "fc10": 0.01}
    assert stds == pytest.approx(wanted, rel=0.05)
    assert all((layer["bias"] == 0).all() for layer in params.values())


@pytest.mark.parametrize("order", ["nhwc", "hwnc"])
def test_local_layer_and_its_gradient(order, rng):
    shapes = (4, 5, 6, 3), (5, 6, 3, 3, 3, 2), (5, 6, 2)
    x, kernel, bias = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)

    def call(x, kernel, bias):
        maps = HWNC(x.transpose(1, 2, 0, 3)) if order == "hwnc" else x
        return ops.nhwc(ops.local_conv2d(maps, kernel, bias, padding=1))

    found = call(x, kernel, bias)
    wide = [np.asarray(a, np.float64) for a in (x, kernel, bias)]
    expected = np.stack([naive_local(image, *wide[1:]) for image in wide[0]])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    weights = rng.normal(size=found.shape).astype(np.float32)
    gradients = jax.grad(lambda *a: (call(*a) * weights).sum(), (0, 1, 2))(x, kernel, bias)
    # It is linear in each of its arguments: the gradient's product with one gives back the sum.
    total = float((expected * weights).sum())
    of_bias = float((gradients[2] * bias).sum())
    assert float((gradients[0] * x).sum()) == pytest.approx(total - of_bias, rel=1e-4)
    assert float((gradients[1] * kernel).sum()) == pytest.approx(total - of_bias, rel=1e-4)


@pytest.mark.parametrize("side", [16, 15, 7])
def test_average_of_overlapping_windows(side, rng):
    x = jnp.asarray(rng.normal(size=(2, side, side, 3)), jnp.float32)
    expected = np.stack([naive_average(np.asarray(image)) for image in x])
    for maps in (x, HWNC(x.transpose(1, 2, 0, 3))):
        found = ops.nhwc(ops.overlapping_average_pool(maps, size=3, stride=2))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "12pct"}, "did you mean '1.pct'"),
        ({"stds": (0.1,)}, "stds has 1 values, the network needs 4"),
        ({"norms": ("within",)}, "norms has 1 values, the network needs 3"),
        ({"pools": ("max", "mean", "max")}, "unknown model.pools 'mean'"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(UsageError, match=message):
        create_model(name="cuda_convnet", **options)
