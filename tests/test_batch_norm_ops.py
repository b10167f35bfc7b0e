"""The operations of batch normalisation, as on CPUs and as on GPUs, against loops in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import ops
from lenet_alexnet.ops.layouts import Scaled
from lenet_alexnet.runtime import target
from tests.helpers.arrays import numbers

pytestmark = pytest.mark.usefixtures("platform")
DTYPES = [(jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)]
FACTOR, SHIFT = np.array([1.5, -0.5, 0.0, 0.75]), np.array([0.25, 1.0, 0.5, -0.5])


@pytest.fixture(params=["cpu", "gpu"])
def platform(request):
    """Operations take the forms of a platform; this machine computes both."""
    with target.tracing_for(request.param):
        yield request.param


def close(found, expected, exact):
    expected = np.asarray(expected, np.float64)
    atol = exact * np.abs(expected).max()
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("form", ["plain", "auto"])
@pytest.mark.parametrize(("dtype", "exact"), DTYPES)
def test_moments_and_their_gradient(rng, dtype, exact, form):
    x = (1 + numbers(rng, 3, 4, 5, 6)).astype(dtype)
    found, pull = jax.vjp(jax.jit(lambda x: ops.channel_moments(x, form)), x)
    wide = np.asarray(x, np.float64)
    close(found[0], wide.mean((0, 1, 2)), 1e-6)
    close(found[1], (wide**2).mean((0, 1, 2)), 1e-6)
    a, b = numbers(rng, 6), numbers(rng, 6)
    (gradient,) = jax.jit(pull)((a, b))
    close(gradient, (np.asarray(a) + 2 * wide * np.asarray(b)) / 60, exact)


@pytest.mark.parametrize("form", ["plain", "auto"])
@pytest.mark.parametrize(("dtype", "exact"), DTYPES)
def test_scaled_maps_after_relu_and_their_gradients(rng, dtype, exact, form):
    x = numbers(rng, 2, 5, 5, 4).astype(dtype)

    def run(x, factor, shift):
        return ops.nhwc(ops.activate(ops.scale_channels(x, factor, shift, form), jax.nn.relu))

    arguments = x, *map(jnp.float32, (FACTOR, SHIFT))
    found, pull = jax.vjp(jax.jit(run), *arguments)
    g = numbers(rng, *found.shape).astype(dtype)
    wide, g64 = np.asarray(x, np.float64), np.asarray(g, np.float64)
    passed = g64 * (wide * FACTOR + SHIFT > 0)
    close(found, np.maximum(wide * FACTOR + SHIFT, 0), exact)
    expected = passed * FACTOR, (passed * wide).sum((0, 1, 2)), passed.sum((0, 1, 2))
    for one, known in zip(jax.jit(pull)(g), expected, strict=True):
        close(one, known, exact)


@pytest.mark.parametrize(("height", "ceil"), [(9, False), (8, False), (8, True)])
@pytest.mark.parametrize(("dtype", "exact"), DTYPES)
def test_pooling_after_them_and_its_gradients(rng, height, ceil, dtype, exact):
    x = numbers(rng, 2, height, height, 4).astype(dtype)

    def run(x, factor, shift):
        maps = ops.activate(ops.scale_channels(x, factor, shift, "auto"), jax.nn.relu)
        return ops.nhwc(ops.max_pool(maps, size=3, stride=2, ceil=ceil, form="auto"))

    found, pull = jax.vjp(jax.jit(run), x, *map(jnp.float32, (FACTOR, SHIFT)))
    g = numbers(rng, *found.shape).astype(dtype)
    wide, g64 = np.asarray(x, np.float64), np.asarray(g, np.float64)
    values = np.maximum(wide * FACTOR + SHIFT, 0)
    # Which is the largest is decided by the values as they are stored.
    scaled = x * jnp.asarray(FACTOR, dtype) + jnp.asarray(SHIFT, dtype)
    stored = np.asarray(jnp.maximum(scaled, 0), np.float64)
    expected, passed = np.zeros(found.shape), np.zeros(x.shape)
    for b, i, j, c in np.ndindex(*found.shape):
        window = (b, slice(2 * i, 2 * i + 3), slice(2 * j, 2 * j + 3), c)
        place = np.unravel_index(np.argmax(stored[window]), stored[window].shape)
        expected[b, i, j, c] = values[window][place]
        if stored[window][place] > 0:
            passed[window][place] += g64[b, i, j, c]
    close(found, expected, exact)
    known = passed * FACTOR, (passed * wide).sum((0, 1, 2)), passed.sum((0, 1, 2))
    for one, slope in zip(jax.jit(pull)(g), known, strict=True):
        close(one, slope, exact)


def test_other_activations(rng):
    x = numbers(rng, 2, 3, 3, 4)
    maps = ops.activate(ops.scale_channels(x, *map(jnp.float32, (FACTOR, SHIFT)), "auto"), jnp.tanh)
    close(ops.nhwc(maps), np.tanh(np.asarray(x, np.float64) * FACTOR + SHIFT), 1e-6)


def test_only_a_gpu_stores_the_maps_before(rng, platform):
    x, factor = numbers(rng, 1, 3, 3, 4), jnp.ones(4)
    for form, unstored in (("auto", platform == "gpu"), ("plain", False)):
        assert isinstance(ops.scale_channels(x, factor, factor, form), Scaled) == unstored
