"""The compiled batch-size-1 program against one update at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lenet_alexnet import stochastic
from lenet_alexnet.models.lenet_1998 import LeNet1, LeNet5_1998, normalise, penalty_eq9
from lenet_alexnet.optimizers.sdlm import curvature, sdlm, set_curvature

EQ9 = functools.partial(penalty_eq9, j=10.0)
MODEL = LeNet5_1998()


@pytest.fixture(scope="module")
def data():
    """30 images of ten blurred shapes and their labels."""
    rng = np.random.default_rng(0)
    shapes = np.kron(rng.uniform(0, 255, (10, 7, 7)), np.ones((4, 4)))
    labels = rng.integers(0, 10, 30)
    images = np.clip(shapes[labels] + rng.normal(0, 20, (30, 28, 28)), 0, 255).astype(np.uint8)
    return jnp.asarray(images[..., None]), jnp.asarray(labels, jnp.int32)


@functools.partial(jax.jit, static_argnums=2)
def start(seed, images, model=MODEL):
    x = normalise(images[:20], model.input_size)
    params = model.init(jax.random.key(seed), x[:1])["params"]
    return params, curvature(model, params, x)


def orders(*shape):
    return jnp.asarray(np.random.default_rng(1).integers(0, 30, shape), jnp.int32)


program = stochastic.make_pass(MODEL, EQ9)  # compiled once for all tests: orders of 30


def close(a, b, atol=2e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=atol), a, b)


def copy(tree):
    return jax.tree.map(jnp.array, tree)


def test_program_is_optax_step_by_step(data):
    images, labels = data
    first, h = start(0, images)
    order = orders(30)
    opt = sdlm(5e-4, mu=0.02)

    @jax.jit
    def step(params, state, image, label):
        def energy(p):
            y = MODEL.apply({"params": p}, normalise(image[None]))
            return EQ9(y, label[None])[0], y[0]

        (value, y), g = jax.value_and_grad(energy, has_aux=True)(params)
        updates, state = opt.update(g, state, params)
        return optax.apply_updates(params, updates), state, value, jnp.argmin(y) != label

    params, state = first, set_curvature(opt.init(first), h)
    values, errors = [], 0
    for i in order[:12]:
        params, state, value, wrong = step(params, state, images[i], labels[i])
        values.append(value)
        errors += int(wrong)

    ours, sums = program(copy(first), h, 5e-4, 0.02, images, labels, order, 12)
    close(ours, params)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), ours, first)
    assert min(jax.tree.leaves(moved)) > 1e-5  # every leaf was trained
    np.testing.assert_allclose(sums.loss, sum(values), rtol=1e-5)
    assert int(sums.errors) == errors


def test_slices_make_the_pass_with_one_compilation(data):
    images, labels = data
    first, h = start(0, images)
    order = orders(30)
    whole, total = program(copy(first), h, 1e-3, 0.02, images, labels, order, 30)
    params, loss, errors = copy(first), 0.0, 0
    for begin, count in ((0, 13), (13, 13), (26, 4)):
        part = jnp.zeros(30, jnp.int32).at[:count].set(order[begin : begin + count])
        params, sums = program(params, h, 1e-3, 0.02, images, labels, part, count)
        loss, errors = loss + sums.loss, errors + int(sums.errors)
    close(params, whole)
    np.testing.assert_allclose(loss, total.loss, rtol=1e-5)
    assert errors == int(total.errors)
    assert program._cache_size() == 1


def test_lanes_are_single_runs(data):
    images, labels = data
    lanes = [start(seed, images) for seed in range(3)]
    params, h = jax.tree.map(lambda *a: jnp.stack(a), *lanes)
    eta, mu = jnp.array([5e-4, 1e-4, 5e-4]), jnp.array([0.02, 0.02, 0.2])
    order = orders(3, 30)
    side_by_side = stochastic.make_pass(MODEL, EQ9, lanes=True)
    together, sums = side_by_side(copy(params), h, eta, mu, images, labels, order, 8)
    for lane, (p, c) in enumerate(lanes):
        alone, s = program(copy(p), c, eta[lane], mu[lane], images, labels, order[lane], 8)
        close(jax.tree.map(lambda a, lane=lane: a[lane], together), alone, atol=1e-5)
        np.testing.assert_allclose(sums.loss[lane], s.loss, rtol=1e-4)
        assert int(sums.errors[lane]) == int(s.errors)


def test_lane_of_the_loss_constant(data):
    images, labels = data
    p, h = start(0, images)
    order = orders(30)

    def run(j):
        loss = functools.partial(penalty_eq9, j=j)
        return stochastic.run(MODEL, loss, p, h, 5e-4, 0.02, images, labels, order, 5)[0]

    lanes = jax.jit(jax.vmap(run))(jnp.array([80.0, 10.0]))
    alone, _ = program(copy(p), h, 5e-4, 0.02, images, labels, order, 5)
    close(jax.tree.map(lambda a: a[1], lanes), alone, atol=1e-5)
    assert float(jnp.abs(lanes["F6"]["kernel"][0] - lanes["F6"]["kernel"][1]).max()) > 1e-4


def noise(key, image):
    return image + jax.random.normal(key, image.shape)


def test_virtual_patterns(data):
    images, labels = data
    key = jax.random.key(3)

    def pattern(i, key=key):
        return stochastic.virtual_pattern(images, labels, jnp.int32(i), noise, key)

    image, label = pattern(7)
    np.testing.assert_allclose(image, images[7] / 255.0, atol=1e-6)  # variant 0: the original
    assert label == labels[7]
    distorted, label = pattern(37)
    assert label == labels[7]
    expected = noise(jax.random.fold_in(key, 37), images[7] / 255.0)
    np.testing.assert_allclose(distorted, expected, atol=1e-6)
    np.testing.assert_array_equal(pattern(37)[0], distorted)  # the same sample whenever it comes
    assert np.abs(pattern(67)[0] - distorted).max() > 0.1
    assert np.abs(pattern(37, jax.random.key(4))[0] - distorted).max() > 0.1


def test_program_with_distortions(data):
    images, labels = data
    first, h = start(0, images)
    key, order = jax.random.key(5), jnp.array([3, 33, 64, 9], jnp.int32)
    distorting = stochastic.make_pass(MODEL, EQ9, augment=noise)
    params, sums = distorting(copy(first), h, 5e-4, 0.02, images, labels, order, 4, key)
    drawn = [stochastic.virtual_pattern(images, labels, i, noise, key) for i in order]
    expected, total = first, 0.0

    @jax.jit
    @jax.value_and_grad
    def energy(p, image, label):
        return EQ9(MODEL.apply({"params": p}, normalise(image[None])), label[None])[0]

    for image, label in drawn:
        value, g = energy(expected, image, label)
        expected = jax.tree.map(lambda w, c, d: w - 5e-4 / (0.02 + c) * d, expected, h, g)
        total += value
    close(params, expected, atol=1e-5)
    np.testing.assert_allclose(sums.loss, total, rtol=1e-4)


def test_evaluation_counts_every_image_once(data):
    images, labels = data
    params, _ = start(0, images)
    y = jax.jit(lambda: MODEL.apply({"params": params}, normalise(images)))()
    for batch in (8, 64):
        sums = jax.jit(
            lambda p, batch=batch: stochastic.evaluate(MODEL, EQ9, p, images, labels, batch)
        )(params)
        np.testing.assert_allclose(sums.loss, EQ9(y, labels).sum(), rtol=1e-5)
        assert int(sums.errors) == int((jnp.argmin(y, 1) != labels).sum())


@pytest.mark.parametrize("model", [MODEL, LeNet1()])
def test_it_learns(data, model):
    images, labels = data
    params, h = start(1, images, model)
    passes = program if model == MODEL else stochastic.make_pass(model, EQ9)
    order = jnp.asarray(np.random.default_rng(2).permutation(30), jnp.int32)
    errors = []
    for _ in range(8):
        params, sums = passes(params, h, 5e-4, 0.02, images, labels, order, 30)
        errors.append(int(sums.errors))
    assert errors[0] > 10
    assert errors[-1] == 0
