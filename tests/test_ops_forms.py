"""Each form of a layer on CPUs against the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import ops
from lenet_alexnet.ops.layouts import Folded
from tests.helpers.arrays import assert_close, numbers
from tests.helpers.compiler import needs_compiler

WINOGRAD = [
    (67, 67, 3, 8, 11, 4, ((0, 0), (0, 0))),
    (64, 64, 3, 8, 11, 4, ((0, 3), (0, 3))),
    (30, 30, 3, 4, 11, 4, ((2, 2), (2, 2))),
    (27, 27, 5, 6, 5, 1, ((2, 2), (2, 2))),
    (13, 13, 40, 36, 3, 1, ((1, 1), (1, 1))),
    (7, 7, 20, 33, 3, 1, ((1, 1), (1, 1))),
    (10, 10, 5, 7, 4, 1, ((0, 2), (1, 1))),
    (6, 6, 2, 3, 2, 3, ((0, 0), (1, 0))),
    (6, 6, 2, 3, 1, 1, ((0, 0), (0, 0))),
]
BLOCK = [
    (32, 32, 1, 6, 5),  # C1
    (14, 14, 6, 16, 5),  # C3
    (28, 24, 6, 16, 5),  # several tiles, the last one not full
    (15, 17, 3, 4, 3),
    (13, 12, 16, 4, 3),  # blocks of side 1 at points
    (5, 5, 2, 3, 5),
    (9, 6, 1, 2, 2),
]
ALEXNETS = [  # conv2's and conv3's
    (27, 27, 48, 128, 5, 1, ((2, 2), (2, 2))),
    (13, 13, 256, 192, 3, 1, ((1, 1), (1, 1))),
]
FORMS = [("winograd", *shape) for shape in WINOGRAD]
FORMS += [pytest.param("winograd", *shape, marks=pytest.mark.slow) for shape in ALEXNETS]
FORMS += [("block", *shape, 1, ((0, 0), (0, 0))) for shape in BLOCK]
FORMS += [("block", 12, 11, 3, 8, 5, 1, ((2, 2), (1, 3)))]


@pytest.mark.parametrize(
    ("form", "height", "width", "channels", "filters", "size", "stride", "padding"), FORMS
)
def test_a_form_equals_the_plain_one(
    rng, form, height, width, channels, filters, size, stride, padding
):
    """Values and gradients are within 1e-5 of the largest."""
    x = numbers(rng, 2, height, width, channels)
    kernel = numbers(rng, size, size, channels, filters)

    def value_and_gradients(form):
        def conv(x, kernel):
            return ops.nhwc(ops.conv2d(x, kernel, form, stride=stride, padding=padding))

        out, gradients = jax.vjp(conv, x, kernel)
        return out, gradients(jax.random.normal(jax.random.key(0), out.shape))

    run = jax.jit(value_and_gradients, static_argnums=0)
    assert_close(run(form), run("plain"))


@pytest.mark.parametrize("size", [3, 5])
def test_winograd_form_under_vmap(rng, size):
    x, kernels = numbers(rng, 3, 2, 9, 9, 4), numbers(rng, 3, size, size, 4, 5)
    together = jax.jit(jax.vmap(lambda x, k: ops.nhwc(ops.conv2d(x, k, "winograd"))))(x, kernels)
    alone = jnp.stack([ops.conv2d(a, k, "plain") for a, k in zip(x, kernels, strict=True)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_of_a_5_x_5_kernel_is_added_up_in_parts(seed):
    """As one sum in float32 it errs by 10 to 13 millionths of the largest, in parts by 4 to 6."""
    rng = np.random.default_rng(seed)
    x, weight = numbers(rng, 4, 27, 27, 16), numbers(rng, 4, 27, 27, 32)
    kernel = numbers(rng, 5, 5, 16, 32)
    padding = ((2, 2), (2, 2))

    def gradient(form, *values):
        def conv(kernel):
            return ops.nhwc(ops.conv2d(values[0], kernel, form, padding=padding))

        return jax.vjp(conv, values[1])[1](values[2])[0]

    found = jax.jit(gradient, static_argnums=0)("winograd", x, kernel, weight)
    with jax.enable_x64(True):
        doubles = [jnp.asarray(a, jnp.float64) for a in (x, kernel, weight)]
        exact = np.asarray(gradient("plain", *doubles))
    assert exact.dtype == np.float64
    assert abs(found - exact).max() < 8e-6 * abs(exact).max()


def test_a_form_that_cannot_have_a_convolution_leaves_it_to_the_plain_one(rng):
    x = numbers(rng, 1, 9, 9, 2)
    for form, size, stride in (("block", 3, 2), ("winograd", 6, 1)):
        kernel = numbers(rng, size, size, 2, 3)
        plain = ops.conv2d(x, kernel, "plain", stride=stride)
        found = ops.conv2d(x, kernel, form, stride=stride)
        np.testing.assert_array_equal(ops.nhwc(found), plain)


@pytest.mark.parametrize("form", ["plain", "auto"])
def test_dense_towers_against_one_product_each(rng, form):
    x, kernels, weight = numbers(rng, 3, 20), numbers(rng, 2, 20, 7), numbers(rng, 2, 3, 7)

    def found(x, kernels):
        return jnp.vdot(ops.dense(x, kernels, form), weight)

    def expected(x, kernels):
        return sum(jnp.vdot(x @ k, w) for k, w in zip(kernels, weight, strict=True))

    a, b = (jax.jit(jax.value_and_grad(f, (0, 1)))(x, kernels) for f in (found, expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), a, b)


@pytest.mark.parametrize(
    ("form", "batch"),
    [("block", 3), *(pytest.param("native", n, marks=needs_compiler) for n in (3, 32))],
)
def test_maps_in_a_forms_order_are_those_of_a_plain_layer(rng, form, batch):
    """Convolution, activation, pooling and convolution, as in LeNet-5, in both layouts."""
    x, weight = numbers(rng, batch, 32, 32, 1), numbers(rng, batch, 10, 10, 4)
    kernels = numbers(rng, 5, 5, 1, 6), numbers(rng, 5, 5, 6, 4)
    biases = numbers(rng, 6), numbers(rng, 4)

    def in_its_order(x, kernels, biases):
        first = ops.conv_bias(x, kernels[0], biases[0], jnp.tanh, form)
        assert first.shape == (batch, 28, 28, 6)
        pooled = ops.average_pool(first, 2)
        assert type(pooled) is type(first)
        assert pooled.shape == (batch, 14, 14, 6)
        return ops.nhwc(ops.conv2d(pooled, kernels[1], form, bias=biases[1]))

    def plain(x, kernels, biases):
        first = jnp.tanh(ops.conv2d(x, kernels[0], "plain") + biases[0])
        pooled = first.reshape(batch, 14, 2, 14, 2, 6).mean((2, 4))
        return ops.conv2d(pooled, kernels[1], "plain") + biases[1]

    def value_and_gradients(layers):
        out, gradients = jax.vjp(layers, x, kernels, biases)
        return out, gradients(weight)

    run = jax.jit(value_and_gradients, static_argnums=0)
    assert_close(run(in_its_order), run(plain))


@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 1), (2, 4), (3, 2)])
def test_maps_in_blocks_of_another_side(rng, old, new):
    x = numbers(rng, 2, 12, 24, 3)
    blocks = x.reshape(2, 12 // old, old, 24 // old, old, 3).transpose(2, 4, 5, 1, 3, 0)
    folded = Folded(blocks.reshape(-1, 12 // old, 24 // old, 2), old)
    np.testing.assert_array_equal(folded.nhwc(), x)
    np.testing.assert_array_equal(folded.with_side(new).nhwc(), x)
    assert folded.with_side(new).side == new


def test_rows_are_placed_and_put_back_under_every_transformation(rng):
    there = np.array([False, True, True, False, True])
    x, weight = numbers(rng, 4, 3, 2), numbers(rng, 5, 2)

    def by_index(x):
        return jnp.zeros((5, 2)).at[np.flatnonzero(there)].set(x)

    def all_of(place):
        def loss(x):
            return jnp.sum(place(x) ** 3 * weight)

        each = (place, jax.grad(loss), jax.hessian(loss), lambda x: jax.jvp(place, (x,), (x,)))
        return jax.jit(jax.vmap(lambda x: [f(x) for f in each]))(x)

    expected = all_of(by_index)
    found = all_of(lambda x: ops.place_rows(x, there))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)
