"""Random arrays, and the comparison of two arrays."""

import jax
import jax.numpy as jnp
import numpy as np


def numbers(rng, *shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def assert_close(found, expected):
    """Asserts that arrays agree within 1e-5 of their largest number."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(jnp.abs(b).max()))
