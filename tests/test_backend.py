"""The installed JAX computes correctly."""

import jax
import jax.numpy as jnp
import numpy as np


def test_a_vmapped_product_that_is_summed_is_right_under_jit(rng):
    """jax-ml/jax#39103: jaxlib 0.10.2 silently returns wrong numbers under jit on CPU."""
    matrices = jnp.asarray(rng.normal(size=(8, 16, 16)), jnp.float32)
    vectors = jnp.asarray(rng.normal(size=(8, 16)), jnp.float32)

    def summed(matrices, vectors):
        return jax.vmap(lambda m, v: m @ v)(matrices, vectors).sum(0)

    expected = np.einsum("bij,bj->i", np.asarray(matrices, float), np.asarray(vectors, float))
    np.testing.assert_allclose(summed(matrices, vectors), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jax.jit(summed)(matrices, vectors), expected, rtol=1e-4, atol=1e-4)
