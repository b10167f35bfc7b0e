import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import models
from lenet_alexnet.errors import UsageError
from lenet_alexnet.info.network import describe

PARAMS = {"C1": 156, "S2": 0, "C3": 2_416, "S4": 0, "C5": 48_120, "F6": 10_164, "output": 850}


def make(**options):
    model = models.create_model(name="lenet5", **options)
    return model, jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))["params"]


def test_counts_per_layer():
    description = describe(models.create_model(name="lenet5"), (32, 32, 1))
    assert {layer["name"]: layer["params"] for layer in description["layers"]} == PARAMS
    assert description["total_params"] == 61_706
    connections = {layer["name"]: layer["connections"] for layer in description["layers"]}
    # The printed counts (1998, sec. II.B) of C1, C5 and F6 hold for this network too.
    assert (connections["C1"], connections["C5"], connections["F6"]) == (122_304, 48_120, 10_164)


def test_features_have_the_papers_shapes():
    model, params = make()
    shapes = {
        k: v.shape[1:]
        for k, v in jax.eval_shape(
            lambda: models.features(model, params, jnp.ones((2, 32, 32, 1)))
        ).items()
    }
    assert shapes == {
        "C1": (28, 28, 6),
        "S2": (14, 14, 6),
        "C3": (10, 10, 16),
        "S4": (5, 5, 16),
        "C5": (120,),
        "F6": (84,),
        "output": (10,),
    }


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "scaled_tanh", "relu"])
def test_forward_equals_a_naive_loop(rng, activation):
    squash = {
        "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
        "tanh": np.tanh,
        "scaled_tanh": lambda a: 1.7159 * np.tanh(2 * a / 3),
        "relu": lambda a: np.maximum(a, 0),
    }[activation]
    model, params = make(activation=activation)
    params = jax.tree.map(
        lambda p: jnp.asarray(rng.normal(size=p.shape) * 0.1, jnp.float32), params
    )
    x = rng.normal(size=(1, 32, 32, 1))

    def conv(x, layer):
        k, b = np.asarray(layer["kernel"], float), np.asarray(layer["bias"], float)
        out = np.zeros((x.shape[0] - 4, x.shape[1] - 4, k.shape[-1]))
        for i, j in np.ndindex(*out.shape[:2]):
            out[i, j] = np.tensordot(x[i : i + 5, j : j + 5], k, 3) + b
        return squash(out)

    def pool(x):
        return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4

    h = pool(conv(pool(conv(x[0], params["C1"])), params["C3"])).reshape(-1)
    for name in ("C5", "F6"):
        h = squash(h @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"]))
    expected = h @ np.asarray(params["output"]["kernel"]) + np.asarray(params["output"]["bias"])
    found = jax.jit(model.apply)({"params": params}, jnp.asarray(x, jnp.float32))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_bfloat16_keeps_parameters_and_outputs_in_float32():
    model, params = make(precision="bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"float32"}
    x = jax.random.normal(jax.random.key(1), (4, 32, 32, 1))
    out = jax.jit(model.apply)({"params": params}, x)
    assert out.dtype == jnp.float32
    exact = jax.jit(make()[0].apply)({"params": params}, x)
    difference = float(jnp.abs(out - exact).max())
    assert 0 < difference < 0.05  # Half precision is used, and is close.


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"name": "lenet6"}, "lenet5"),
        ({"name": "lenet5", "activation": "tahn"}, "tanh"),
        ({"name": "lenet5", "num_clases": 10}, "num_classes"),
        ({"name": "lenet5", "precision": "float23"}, "float32"),
    ],
)
def test_mistakes_name_the_nearest(options, hint):
    with pytest.raises(UsageError, match=hint):
        models.create_model(**options)
