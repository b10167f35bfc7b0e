import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import ops

SHAPES = [
    (32, 32, 1, 6, 5),
    (14, 14, 6, 16, 5),
    (15, 17, 3, 4, 3),
    (5, 5, 2, 3, 5),
    (9, 6, 1, 2, 2),
]


@pytest.mark.parametrize(("height", "width", "channels", "filters", "size"), SHAPES)
def test_block_form_equals_plain_form(rng, height, width, channels, filters, size):
    x = jnp.asarray(rng.normal(size=(3, height, width, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, channels, filters)), jnp.float32)
    weight = rng.normal(size=(3, height - size + 1, width - size + 1, filters))

    def value_and_gradients(form):
        def value(x, kernel):
            return jnp.sum(jnp.sin(ops.conv2d(x, kernel, form)) * weight)

        return jax.jit(jax.value_and_grad(value, (0, 1)))(x, kernel)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        value_and_gradients("block"),
        value_and_gradients("plain"),
    )


def test_plain_form_is_a_cross_correlation(rng):
    x, kernel = rng.normal(size=(1, 4, 5, 2)), rng.normal(size=(3, 3, 2, 2))
    expected = np.zeros((1, 2, 3, 2))
    for i, j, f in np.ndindex(2, 3, 2):
        expected[0, i, j, f] = np.sum(x[0, i : i + 3, j : j + 3] * kernel[..., f])
    found = ops.conv2d(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), "plain")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_block_form_under_vmap(rng):
    x = jnp.asarray(rng.normal(size=(4, 2, 12, 12, 1)), jnp.float32)
    kernels = jnp.asarray(rng.normal(size=(4, 5, 5, 1, 3)), jnp.float32)
    together = jax.jit(jax.vmap(lambda x, k: ops.conv2d(x, k, "block")))(x, kernels)
    alone = jnp.stack([ops.conv2d(a, k, "plain") for a, k in zip(x, kernels, strict=True)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
