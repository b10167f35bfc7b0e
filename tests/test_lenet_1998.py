"""The numbers printed in the 1998 paper, and its network against naive loops."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet.info.network import describe
from lenet_alexnet.losses import penalty_eq8, penalty_eq9
from lenet_alexnet.models import features
from lenet_alexnet.models.layers import scaled_tanh, scaled_tanh_slope
from lenet_alexnet.models.lenet_1998 import tables
from lenet_alexnet.models.lenet_1998.network import LeNet1, LeNet5_1998


@functools.partial(jax.jit, static_argnums=0)
def initial(model, seed):
    return model.init(jax.random.key(seed), jnp.zeros((1, *model.input_shape)))["params"]


def create(model, seed=0):
    return jax.tree.map(np.asarray, initial(model, seed))


@functools.partial(jax.jit, static_argnums=0)
def network(model, params, images):
    """Penalties of normalised images."""
    return -model.apply({"params": params}, images)


def counts(model):
    """Output shape, parameters, connections and multiply-adds by layer."""
    layers = describe(model, model.input_shape)["layers"]
    columns = ("params", "connections", "multiply_adds")
    return {
        layer["name"]: (tuple(layer["output_shape"]), *(layer[c] for c in columns))
        for layer in layers
    }


def naive_network(params, table, image):
    """LeNet-5 in float64 by loops over connections: image [32, 32] -> ten penalties."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)

    def f(a):
        return 1.7159 * np.tanh(2 * a / 3)

    def convolve(maps, kernels, biases, table):
        size = maps.shape[1] - 4
        out = np.zeros((len(biases), size, size))
        pairs = iter(kernels)
        for o in range(len(biases)):
            out[o] = biases[o]
            for i in range(len(maps)):
                if table[i][o]:
                    kernel = next(pairs)
                    for r in range(size):
                        for c in range(size):
                            out[o, r, c] += np.sum(kernel * maps[i, r : r + 5, c : c + 5])
        assert next(pairs, None) is None
        return f(out)

    def subsample(maps, coefficients, biases):
        size = maps.shape[1] // 2
        out = np.zeros((len(maps), size, size))
        for m, r, c in np.ndindex(out.shape):
            four = maps[m, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2]
            out[m, r, c] = coefficients[m] * four.sum() + biases[m]
        return f(out)

    x = convolve(image[None].astype(np.float64), p["C1"]["kernel"], p["C1"]["bias"], [[1] * 6])
    x = subsample(x, p["S2"]["coefficient"], p["S2"]["bias"])
    x = convolve(x, p["C3"]["kernel"], p["C3"]["bias"], table)
    x = subsample(x, p["S4"]["coefficient"], p["S4"]["bias"])
    x = convolve(x, p["C5"]["kernel"], p["C5"]["bias"], [[1] * 120] * 16)[:, 0, 0]
    x = f(x @ p["F6"]["kernel"] + p["F6"]["bias"])
    return np.array([np.sum((x - code) ** 2) for code in tables.digit_codes()])


def test_lenet5_counts_are_the_printed_ones():
    rows = counts(LeNet5_1998())
    assert rows == {
        "C1": ((6, 28, 28), 156, 122_304, 117_600),
        "S2": ((6, 14, 14), 12, 5_880, 4_704),
        "C3": ((16, 10, 10), 1_516, 151_600, 150_000),
        "S4": ((16, 5, 5), 32, 2_000, 1_600),
        "C5": ((120, 1, 1), 48_120, 48_120, 48_000),
        "F6": ((84,), 10_164, 10_164, 10_080),
        "output": ((10,), 0, 840, 840),
    }
    assert sum(leaf.size for leaf in jax.tree.leaves(create(LeNet5_1998()))) == 60_000
    assert sum(row[2] for row in rows.values()) == 340_908


def test_lenet1_counts_are_the_printed_ones():
    rows = counts(LeNet1())
    assert [row[0] for row in rows.values()] == [
        (4, 24, 24),
        (4, 12, 12),
        (12, 8, 8),
        (12, 4, 4),
        (10,),
    ]
    assert [row[1] for row in rows.values()] == [104, 8, 512, 24, 1_930]
    assert [row[2] for row in rows.values()] == [59_904, 2_880, 32_768, 960, 1_930]


def test_features_are_the_states_of_every_layer_by_name():
    model, params = LeNet5_1998(), initial(LeNet5_1998(), 0)
    image = jnp.ones((1, 32, 32, 1))
    seen = features(model, params, image)
    assert list(seen) == ["C1", "S2", "C3", "S4", "C5", "F6", "output"]
    assert "output" not in params  # The codes are not parameters.
    distance = ((seen["F6"] - tables.digit_codes()) ** 2).sum(-1)
    np.testing.assert_allclose(seen["output"][0], distance, rtol=1e-5)
    np.testing.assert_allclose(network(model, params, image), seen["output"], rtol=1e-5)


def test_c3_table():
    table = np.array(tables.C3_TABLE)
    assert table.shape == (6, 16)
    assert table.sum(0).tolist() == [3] * 6 + [4] * 9 + [6]
    assert table.sum(1).tolist() == [10] * 6
    for first in range(6):  # contiguous triples, then contiguous quadruples, both wrapping around
        assert table[[first, (first + 1) % 6, (first + 2) % 6], first].all()
        assert table[[(first + k) % 6 for k in range(4)], first + 6].all()
    assert np.array(tables.LENET1_TABLE).sum(0).tolist() == [1, 2, 2] * 4
    assert np.array(tables.LENET1_TABLE).sum(1).tolist() == [5] * 4


def test_digit_codes():
    codes = tables.digit_codes()
    assert codes.shape == (10, 84)
    assert set(np.unique(codes)) == {-1.0, 1.0}
    assert (codes > 0).sum(1).tolist() == [35, 27, 33, 32, 41, 35, 39, 25, 43, 39]
    apart = ((codes[:, None] - codes[None]) ** 2).sum(-1)
    off_diagonal = apart[~np.eye(10, dtype=bool)]
    assert off_diagonal.min() == apart[6, 8] == 48
    assert off_diagonal.max() == 200
    assert (codes == -1).all(0).sum() == 10
    assert (codes == 1).all(0).sum() == 4
    seven = codes[7].reshape(12, 7)  # rows of the bitmap stay rows
    assert (seven[0] == 1).all()
    assert (seven[1:3, 5:] == 1).all()


def test_scaled_tanh():
    np.testing.assert_allclose(scaled_tanh(jnp.array([1.0, -1.0, 0.0])), [1, -1, 0], atol=3e-6)
    a = np.linspace(-3, 3, 601)
    second = np.gradient(np.gradient(np.asarray(scaled_tanh(jnp.asarray(a)), np.float64), a), a)
    assert abs(abs(a[np.abs(second[2:-2]).argmax() + 2]) - 1) < 0.05  # |f''| is largest near +-1
    slope = jax.vmap(jax.grad(scaled_tanh))(jnp.asarray(a, jnp.float32))
    np.testing.assert_allclose(scaled_tanh_slope(scaled_tanh(jnp.asarray(a))), slope, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
def test_network_against_naive_loops(batch):
    model = LeNet5_1998(init_scale=1.0, coefficient_init=(0.1, 0.5))
    params = create(model, 1)
    images = np.random.default_rng(0).uniform(-0.1, 1.175, (batch, 32, 32, 1)).astype(np.float32)
    y = network(model, params, images)
    expected = np.array([naive_network(params, tables.C3_TABLE, image[..., 0]) for image in images])
    np.testing.assert_allclose(y, expected, rtol=2e-5)


def test_gradient_against_finite_differences():
    model = LeNet5_1998()
    params = create(model, 2)
    image = np.random.default_rng(1).uniform(-0.1, 1.175, (32, 32)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda p: network(model, p, image[None, ..., None])[0, 3]))(params)
    rng = np.random.default_rng(2)
    for layer, leaves in params.items():
        for name, leaf in leaves.items():
            at = tuple(rng.integers(leaf.shape))
            values = []
            for step in (-1e-4, 1e-4):
                moved = jax.tree.map(lambda a: np.array(a, np.float64), params)
                moved[layer][name][at] += step
                values.append(naive_network(moved, tables.C3_TABLE, image)[3])
            slope = (values[1] - values[0]) / 2e-4
            np.testing.assert_allclose(gradient[layer][name][at], slope, rtol=2e-3, atol=2e-4)


def test_initial_ranges():
    text = create(LeNet5_1998(init_scale=2.4, init_power=1.0, coefficient_init=(-0.6, 0.6)))
    edges = {name: np.abs(text[name]["kernel"]).max() for name in ("C1", "C5", "F6")}
    for name, bound in (("C1", 0.096), ("C5", 0.006), ("F6", 0.02)):  # p. 41 applied
        assert 0.95 * bound < edges[name] <= bound
    by_fan_in = {3: 0.032, 4: 0.024, 6: 0.016}
    inputs = np.array(tables.C3_TABLE).sum(0)
    kernels = np.split(np.abs(text["C3"]["kernel"]), np.cumsum(inputs)[:-1])
    for used, kernel, bias in zip(inputs, kernels, text["C3"]["bias"], strict=True):
        assert 0.8 * by_fan_in[used] < kernel.max() <= by_fan_in[used]
        assert abs(bias) <= by_fan_in[used]

    ours = create(LeNet5_1998())
    # The standard deviation of a uniform distribution is its bound over sqrt(3).
    np.testing.assert_allclose(np.std(ours["C5"]["kernel"]), 1.7 / 20 / math.sqrt(3), rtol=0.02)
    assert 0.9 * 1.7 / 20 < np.abs(ours["C5"]["bias"]).max() <= 1.7 / 20
    other = create(LeNet5_1998(bias_init="zero", subsampling_bias=0.0, bias_in_fan_in=True))
    np.testing.assert_allclose(np.std(other["C1"]["kernel"]), 1.7 / math.sqrt(3 * 26), rtol=0.15)
    assert np.abs(other["C1"]["kernel"]).max() <= 1.7 / math.sqrt(26)
    assert all(not np.any(leaves["bias"]) for leaves in other.values())


def test_initial_defaults_are_the_documented_ones():
    params = create(LeNet5_1998())
    np.testing.assert_array_equal(params["S2"]["coefficient"], np.full(6, 0.35, np.float32))
    assert 0.3 < np.abs(params["S4"]["bias"]).max() <= 0.5
    assert len(np.unique(params["S4"]["bias"])) == 16


def test_losses_against_naive_numpy():
    y = np.random.default_rng(0).uniform(0, 120, (50, 10))
    y[0] = 0.0
    labels = np.random.default_rng(1).integers(0, 10, 50)
    right = y[np.arange(50), labels]
    np.testing.assert_allclose(penalty_eq8(jnp.asarray(y), jnp.asarray(labels)), right, rtol=1e-6)
    for j in (0.1, 10.0):
        expected = right + np.log(np.exp(-j) + np.exp(-y).sum(1))
        loss = penalty_eq9(jnp.asarray(y), jnp.asarray(labels), j)
        np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-5)
        assert (np.asarray(loss) >= 0).all()


def test_eq9_gradient_is_the_posterior_also_where_exponentials_underflow():
    y = np.array([[84.0, 150.0, 12.0, 9.0, 300.0, 200.0, 90.0, 95.0, 14.0, 8.0]])
    for j in (1.0, 10.0, 250.0):
        posterior = np.exp(-y) / (np.exp(-j) + np.exp(-y).sum())
        expected = (np.arange(10) == 2) - posterior
        gradient = jax.grad(lambda y, j=j: penalty_eq9(y, jnp.array([2]), j)[0])(jnp.asarray(y))
        np.testing.assert_allclose(gradient, expected, atol=1e-6)
    far = jax.grad(lambda y: penalty_eq9(y, jnp.array([2]), 400.0)[0])(jnp.asarray(y + 200))
    assert np.isfinite(np.asarray(far)).all()
    np.testing.assert_allclose(far.sum(), 0, atol=1e-5)  # no rubbish class
