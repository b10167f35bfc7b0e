from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import ops
from lenet_alexnet.ops.layouts import HWNC
from lenet_alexnet.runtime import target
from tests.helpers.arrays import assert_close, numbers


@pytest.fixture(params=["cpu", "gpu"])
def platform(request):
    """Operations take the forms of a platform; this machine computes both."""
    with target.tracing_for(request.param):
        yield


def test_plain_form_is_a_cross_correlation(rng):
    x, kernel = rng.normal(size=(1, 4, 5, 2)), rng.normal(size=(3, 3, 2, 2))
    expected = np.zeros((1, 2, 3, 2))
    for i, j, f in np.ndindex(2, 3, 2):
        expected[0, i, j, f] = np.sum(x[0, i : i + 3, j : j + 3] * kernel[..., f])
    found = ops.conv2d(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), "plain")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [26, 6])  # maps of more and of fewer than 500 positions
@pytest.mark.usefixtures("platform")
def test_the_gradients_of_a_convolution_with_a_bias(rng, side):
    x, kernel, bias = numbers(rng, 2, side, side, 3), numbers(rng, 3, 3, 3, 4), numbers(rng, 4)

    def loss(form, *weights):
        return (jnp.sin(ops.nhwc(ops.conv2d(x, weights[0], form, bias=weights[1]))) ** 2).sum()

    gradients = {
        form: jax.jit(jax.grad(partial(loss, form), (0, 1)))(kernel, bias)
        for form in ("auto", "plain")
    }
    for found, expected in zip(*gradients.values(), strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("channels", [1, 6])
def test_block_form_under_vmap(rng, channels):
    x, kernels = numbers(rng, 4, 2, 12, 12, channels), numbers(rng, 4, 5, 5, channels, 3)
    together = jax.jit(jax.vmap(lambda x, k: ops.nhwc(ops.conv2d(x, k, "block"))))(x, kernels)
    alone = jnp.stack([ops.conv2d(a, k, "plain") for a, k in zip(x, kernels, strict=True)])
    assert_close(together, alone)


@pytest.mark.parametrize("channels", [1, 6])
def test_block_form_in_bfloat16(rng, channels):
    x, kernel = numbers(rng, 2, 14, 14, channels), numbers(rng, 5, 5, channels, 4)
    halves = jax.jit(partial(ops.conv2d, form="block"))(*map(jnp.bfloat16, (x, kernel)))
    found, expected = ops.nhwc(halves), ops.conv2d(x, kernel, "plain")
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * float(jnp.abs(expected).max()))


@pytest.mark.parametrize("form", ["plain", "auto"])
@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize(("size", "beta"), [(5, 0.75), (4, 0.6)])
@pytest.mark.usefixtures("platform")
def test_response_norm_against_a_loop_and_finite_differences(rng, channels, size, beta, form):
    x = 3 * numbers(rng, 2, 2, 3, channels)
    options = {"size": size, "k": 2.0, "alpha": 0.1, "beta": beta, "form": form}
    run = jax.jit(lambda x: ops.nhwc(ops.response_norm(x, **options)))
    expected = np.zeros(x.shape)
    for i in range(channels):
        window = x[..., max(i - size // 2, 0) : i - size // 2 + size]
        expected[..., i] = x[..., i] / (2 + 0.1 * (window**2).sum(-1)) ** beta
    np.testing.assert_allclose(run(x), expected, rtol=1e-5)
    check_gradient(rng, run, x)


@pytest.mark.parametrize("form", ["plain", "auto"])
@pytest.mark.usefixtures("platform")
def test_spatial_response_norm_against_a_loop_and_finite_differences(rng, form):
    x = 3 * numbers(rng, 1, 7, 4, 2)
    run = jax.jit(
        lambda x: ops.spatial_response_norm(x, size=5, k=1.0, alpha=0.1, beta=0.75, form=form)
    )
    expected = np.zeros(x.shape)
    for i, j in np.ndindex(7, 4):
        window = x[:, max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3]
        expected[:, i, j] = x[:, i, j] / (1 + 0.1 * (window**2).sum((1, 2))) ** 0.75
    np.testing.assert_allclose(run(x), expected, rtol=1e-5)
    check_gradient(rng, run, x)


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize(("dtype", "exact"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)])
@pytest.mark.parametrize(("height", "ceil"), [(9, False), (8, False), (8, True)])
def test_pooling_after_response_norm_against_a_loop_in_float64(rng, height, ceil, dtype, exact):
    k, alpha, beta = 2.0, 0.1, 0.75
    x = (3 * numbers(rng, 2, height, height, 7)).astype(dtype)

    def run(x):
        maps = ops.response_norm(x, size=5, k=k, alpha=alpha, beta=beta, form="auto")
        return ops.nhwc(ops.max_pool(maps, size=3, stride=2, ceil=ceil, form="auto"))

    found, pull = jax.vjp(jax.jit(run), x)
    g = numbers(rng, *found.shape).astype(dtype)
    (gradient,) = jax.jit(pull)(g)
    wide, g = np.asarray(x, np.float64), np.asarray(g, np.float64)
    near = np.abs(np.subtract.outer(np.arange(7), np.arange(7))) <= 2  # five neighbours
    divisor = k + alpha * (wide**2 @ near)
    # Which is the largest is decided by the values as they are stored.
    values, stored = wide / divisor**beta, np.asarray((wide / divisor**beta).astype(dtype))
    expected, at_maxima = np.zeros(found.shape), np.zeros(x.shape)
    for b, i, j, c in np.ndindex(*found.shape):
        window = (b, slice(2 * i, 2 * i + 3), slice(2 * j, 2 * j + 3), c)
        place = np.unravel_index(np.argmax(stored[window]), stored[window].shape)
        expected[b, i, j, c] = values[window][place]
        at_maxima[window][place] += g[b, i, j, c]
    inner = (at_maxima * wide / divisor ** (beta + 1)) @ near
    slope = at_maxima / divisor**beta - 2 * alpha * beta * wide * inner
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=exact)
    np.testing.assert_allclose(
        np.asarray(gradient, np.float64), slope, rtol=0, atol=exact * np.abs(slope).max()
    )


def check_gradient(rng, run, x):
    """The gradient along random directions against central differences."""
    weight = numbers(rng, *x.shape)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(run(x) * weight)))(x)
    for _ in range(3):
        direction = numbers(rng, *x.shape)
        ahead, behind = run(x + 1e-2 * direction), run(x - 1e-2 * direction)
        numerical = np.sum(np.asarray(ahead - behind, np.float64) * weight) / 2e-2
        np.testing.assert_allclose(np.sum(gradient * direction), numerical, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("form", ["plain", "auto"])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("height", "size", "stride"), [(13, 3, 2), (8, 3, 2), (7, 2, 2)])
@pytest.mark.usefixtures("platform")
def test_max_pool_against_xla(rng, height, size, stride, ceil, form):
    x = numbers(rng, 2, height, height, 3)
    over = (size - height) % stride if ceil else 0
    window = ((1, size, size, 1), (1, stride, stride, 1), ((0, 0), (0, over), (0, over), (0, 0)))

    def plain(x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, *window)

    def fast(x):
        return ops.max_pool(x, size=size, stride=stride, ceil=ceil, form=form)

    weight = numbers(rng, *jax.eval_shape(plain, x).shape)
    a, b = (
        jax.jit(jax.value_and_grad(lambda x, f=f: jnp.sum(f(x) * weight)))(x) for f in (plain, fast)
    )
    np.testing.assert_array_equal(jax.jit(plain)(x), jax.jit(fast)(x))
    np.testing.assert_allclose(a[1], b[1], rtol=1e-6)


@pytest.mark.parametrize("form", ["plain", "auto"])
@pytest.mark.usefixtures("platform")
def test_the_first_of_equal_maxima_has_the_gradient(form):
    x = jnp.zeros((1, 3, 3, 1))
    gradient = jax.jit(jax.grad(lambda x: ops.max_pool(x, size=3, stride=2, form=form).sum()))(x)
    assert gradient[0, :, :, 0].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize(("stride", "padding"), [(4, ((0, 3), (0, 3))), (1, ((2, 1), (0, 2)))])
def test_stride_and_padding_against_a_loop(rng, stride, padding):
    x, kernel = rng.normal(size=(1, 8, 8, 2)), rng.normal(size=(3, 3, 2, 2))
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    sides = [(n - 3) // stride + 1 for n in padded.shape[1:3]]
    expected = np.zeros((1, *sides, 2))
    for i, j, f in np.ndindex(*sides, 2):
        window = padded[0, i * stride : i * stride + 3, j * stride : j * stride + 3]
        expected[0, i, j, f] = np.sum(window * kernel[..., f])
    x, kernel = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    for form in ("plain", "winograd", "products", "folded"):
        run = jax.jit(
            lambda x, k, f=form: ops.nhwc(ops.conv2d(x, k, f, stride=stride, padding=padding))
        )
        np.testing.assert_allclose(run(x, kernel), expected, rtol=1e-4, atol=1e-5)


def in_both_orders(layer, x):
    """Its value and gradient for maps as [b, h, w, c] and as [h, w, b, c]."""
    weight = jnp.cos(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape)

    def value(x, order):
        out = layer(order(x))
        assert type(out) is type(order(x)) or not isinstance(out, HWNC)
        out = ops.nhwc(out)
        return jnp.vdot(out, weight[tuple(slice(n) for n in out.shape)]), out

    orders = (lambda x: x), (lambda x: HWNC(x.transpose(1, 2, 0, 3)))
    return [jax.jit(jax.grad(partial(value, order=o), has_aux=True))(x) for o in orders]


@pytest.mark.parametrize(
    "layer",
    [
        partial(ops.max_pool, size=3, stride=2),
        partial(ops.max_pool, size=3, stride=2, form="auto"),
        partial(ops.max_pool, size=3, stride=2, ceil=True, form="auto"),
        partial(ops.average_pool, size=2),
        partial(ops.response_norm, size=5, k=2.0, alpha=0.1, beta=0.75, form="auto"),
        partial(ops.spatial_response_norm, size=5, k=1.0, alpha=0.1, beta=0.75, form="auto"),
    ],
)
@pytest.mark.usefixtures("platform")
def test_layers_are_the_same_in_both_orders_of_maps(rng, layer):
    usual, inside = in_both_orders(layer, numbers(rng, 3, 8, 8, 6))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), usual, inside)
