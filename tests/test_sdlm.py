"""Stochastic diagonal Levenberg-Marquardt: update rule, schedule, and the second backward pass."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.config.durations import to_steps
from lenet_alexnet.data.preprocess.digits import create_preprocess
from lenet_alexnet.data.sources import embedded
from lenet_alexnet.models import features
from lenet_alexnet.models.lenet_1998 import tables
from lenet_alexnet.models.lenet_1998.layers import Convolution1998, Dense1998, Subsample, distances
from lenet_alexnet.models.lenet_1998.network import LeNet1, LeNet5_1998, Network1998
from lenet_alexnet.optimizers import CurvatureOptions, create_optimizer
from lenet_alexnet.optimizers import sdlm as optimizer
from lenet_alexnet.optimizers.sdlm import curvature, get_curvature, sdlm, set_curvature
from tests.helpers import ROOT

normalise = create_preprocess(mean=0.1 / 1.275, std=1 / 1.275, pad=2, distort={})


class Tiny(Network1998):
    """Every kind of layer: 8x8 -> conv 2@6x6 -> subsample 2@3x3 -> sparse conv 3@1x1 -> 2 units."""

    input_shape = (8, 8, 1)

    @nn.nowrap
    def layers(self):
        return [
            Convolution1998(tables.full(1, 2), self.initial, size=3, name="A"),
            Subsample(2, self.initial, name="B"),
            Convolution1998(((1, 0, 1), (0, 1, 1)), self.initial, size=3, name="C"),
            Dense1998(3, 2, self.initial, name="D"),
        ]

    @nn.nowrap
    def penalties(self, x):
        return distances(x, np.eye(2))


class Chain(Network1998):
    """One unit wide: 3x3 input -> one sum -> one output; every weight acts along a single path."""

    @nn.nowrap
    def layers(self):
        return [
            Convolution1998(((1,),), self.initial, size=3, name="A"),
            Dense1998(1, 1, self.initial, name="B"),
        ]

    @nn.nowrap
    def penalties(self, x):
        return x


def unrolled_tiny(params):
    """Tiny as units of (parameter, index, unit below or None); the first 64 are pixels."""
    units = [None] * 64
    first = len(units)
    for m, r, c in np.ndindex(2, 6, 6):
        links = [("A", "kernel", (m, i, j), (r + i) * 8 + c + j) for i, j in np.ndindex(3, 3)]
        units.append([*links, ("A", "bias", (m,), None)])
    second = len(units)
    for m, r, c in np.ndindex(2, 3, 3):
        four = [first + m * 36 + (2 * r + i) * 6 + 2 * c + j for i, j in np.ndindex(2, 2)]
        units.append([*(("B", "coefficient", (m,), u) for u in four), ("B", "bias", (m,), None)])
    third = len(units)
    pairs = [[(0, 0)], [(1, 1)], [(2, 0), (3, 1)]]  # per map of C: (kernel, map of B)
    for m in range(3):
        links = [
            ("C", "kernel", (k, i, j), second + below * 9 + 3 * i + j)
            for k, below in pairs[m]
            for i, j in np.ndindex(3, 3)
        ]
        units.append([*links, ("C", "bias", (m,), None)])
    for o in range(2):
        links = [("D", "kernel", (i, o), third + i) for i in range(3)]
        units.append([*links, ("D", "bias", (o,), None)])
    return units


def naive_curvature(params, images):
    """Eqs. 22-27, one connection at a time."""
    units = unrolled_tiny(params)
    h = jax.tree.map(lambda a: np.zeros(a.shape), params)
    for image in images:
        x, slope = list(image.ravel().astype(float)) + [0.0] * (len(units) - 64), {}
        for u, links in enumerate(units[64:], 64):
            a = sum(
                params[layer][name][at] * (1.0 if below is None else x[below])
                for layer, name, at, below in links
            )
            x[u] = 1.7159 * np.tanh(2 * a / 3)
            slope[u] = 1.7159 * 2 / 3 * (1 - np.tanh(2 * a / 3) ** 2)
        d2_x = [0.0] * len(units)
        d2_x[-2:] = [2.0, 2.0]
        for u in range(len(units) - 1, 63, -1):
            d2_a = slope[u] ** 2 * d2_x[u]
            for layer, name, at, below in units[u]:
                h[layer][name][at] += d2_a * (1.0 if below is None else x[below] ** 2) / len(images)
                if below is not None:
                    d2_x[below] += params[layer][name][at] ** 2 * d2_a
    return h


@functools.partial(jax.jit, static_argnums=0)
def second_pass(model, params, images):
    return curvature(model, params, images)


@functools.partial(jax.jit, static_argnums=0)
def create(model, seed, images):
    return model.init(jax.random.key(seed), images)["params"]


def test_schedule_is_the_papers():
    config = configs.load(str(ROOT / "configs" / "lenet5_1998.py")).get_config()
    in_steps = functools.partial(to_steps, batch_size=1, examples=60_000)
    made = create_optimizer(total_steps=1_200_000, to_steps=in_steps, **config.optimizer.to_dict())
    expected = [5e-4] * 2 + [2e-4] * 3 + [1e-4] * 3 + [5e-5] * 4 + [1e-5] * 8
    for first in (0, 59_999):  # of each pass's steps the first and the last
        found = [float(made.rate(60_000 * n + first)) for n in range(20)]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert made.curvature == CurvatureOptions(every=60_000, examples=500, mu=0.02, energy=0.5)


@pytest.mark.parametrize(("wrapped", "energy"), [(False, 1.0), (True, 0.5)])
def test_update_rule(wrapped, energy):
    params = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
    h = {"w": jnp.array([0.0, 0.3]), "b": jnp.array(7.0)}
    g = {"w": jnp.array([2.0, -1.0]), "b": jnp.array(3.0)}
    rates = optax.piecewise_constant_schedule(0.1, {1: 0.5})
    opt = sdlm(rates, mu=0.02, energy=energy)
    opt = optax.chain(optax.identity(), opt, optax.scale(2.0)) if wrapped else opt
    factor = 2.0 if wrapped else 1.0
    state = opt.init(params)
    still, _ = opt.update(g, state)
    assert not np.any(still["w"])  # no curvature yet: no step
    state = set_curvature(state, h)
    assert jax.tree.structure(state) == jax.tree.structure(opt.init(params))
    for eta in (0.1, 0.05):
        updates, state = jax.jit(opt.update)(g, state, params)
        # As if E had been `energy` times as large from the start.
        sizes = optimizer.step_sizes(jax.tree.map(lambda a: energy * a, h), eta, 0.02)
        expected = jax.tree.map(lambda size, d: -factor * size * energy * d, sizes, g)
        by_hand = {1.0: -factor * eta / 7.02 * 3.0, 0.5: -factor * eta / 3.52 * 1.5}[energy]
        np.testing.assert_allclose(expected["b"], by_hand, rtol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updates, expected)
    np.testing.assert_array_equal(get_curvature(state)["w"], h["w"])


def test_curvature_against_a_loop_over_connections():
    model = Tiny(init_scale=1.5, coefficient_init=(-0.5, 0.9))
    params = create(model, 0, jnp.zeros((1, 8, 8, 1)))
    images = np.random.default_rng(0).uniform(-0.1, 1.175, (3, 8, 8, 1)).astype(np.float32)
    h = second_pass(model, params, jnp.asarray(images))
    expected = naive_curvature(jax.tree.map(np.asarray, params), images)
    assert jax.tree.structure(h) == jax.tree.structure(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-8), h, expected)
    assert all((np.asarray(leaf) > 0).all() for leaf in jax.tree.leaves(h))


def test_curvature_against_finite_differences_where_it_is_exact():
    # Where the states equal their targets, dE/da = 0 and the dropped f'' term is 0 anyway; with a
    # single path from each weight to one output there are no off-diagonal terms to drop either.
    with jax.enable_x64(True):
        model = Chain(init_scale=1.0, dtype=jnp.float64)
        images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 3, 3, 1)))
        params = create(model, 1, images)
        params = jax.tree.map(lambda a: a.astype(jnp.float64), params)
        network = jax.jit(lambda p: model.apply({"params": p}, images))
        target = network(params)
        h = second_pass(model, params, images)

        def energy(p):
            return float(np.sum((network(p) - target) ** 2))

        for layer, leaves in params.items():
            for name, leaf in leaves.items():
                for at in np.ndindex(leaf.shape):
                    total = 0.0
                    for step in (-1e-3, 1e-3):  # E = 0 in the middle
                        moved = jax.tree.map(lambda a: a, params)
                        moved[layer] = {**moved[layer], name: leaf.at[at].add(step)}
                        total += energy(moved)
                    np.testing.assert_allclose(h[layer][name][at], total / 1e-6, rtol=1e-3)


def test_top_layer_curvature_is_the_exact_gauss_newton_diagonal():
    model = LeNet1()
    images = jnp.asarray(np.random.default_rng(0).uniform(-0.1, 1.175, (2, 28, 28, 1)), jnp.float32)
    params = create(model, 0, images)
    h = second_pass(model, params, images)["output"]

    def outputs(top):
        return features(model, {**params, "output": top}, images)["output"]

    jacobian = jax.jit(jax.jacrev(outputs))(params["output"])
    expected = jax.tree.map(lambda j: 2 * (j**2).sum((0, 1)) / len(images), jacobian)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-9), h, expected)


def test_curvature_averages_patterns():
    model = Tiny()
    images = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (4, 8, 8, 1)), jnp.float32)
    params = create(model, 0, images)
    together = second_pass(model, params, images)
    halves = [second_pass(model, params, images[at]) for at in (slice(0, 2), slice(2, 4))]
    jax.tree.map(
        lambda t, a, b: np.testing.assert_allclose(t, (a + b) / 2, rtol=1e-4, atol=1e-9),
        together,
        *halves,
    )


@pytest.mark.slow
def test_step_range_of_the_first_pass():
    # The paper: 7e-5 .. 0.016, on MNIST; ours on 100 of the embedded digits, within twice that.
    # With E as half of eq. 9, as in configs/lenet5_1998.py.
    images = normalise(jnp.asarray(embedded.read("train").images[:100]))
    model = LeNet5_1998()
    for seed in range(6):
        params = create(model, seed, images[:1])
        sizes = optimizer.step_sizes(second_pass(model, params, images), 5e-4, 0.02, 0.5)
        report = optimizer.step_report(sizes)
        assert set(report) == {*params, "all"}
        assert 7e-5 / 2 < report["all"]["min"] < 7e-5 * 2
        assert 0.016 / 2 < report["all"]["max"] < 0.016 * 2
        assert report["all"]["max"] < 0.025  # eta / mu: nothing is dead
        assert report["all"]["max"] == max(report[layer]["max"] for layer in params)


def test_step_report():
    report = optimizer.step_report({"L": {"w": jnp.arange(1.0, 5.0), "b": jnp.array([9.0])}})
    assert (report["L"]["min"], report["L"]["median"], report["L"]["max"]) == (1.0, 3.0, 9.0)
