"""The arithmetic of batch normalisation, on arrays, with gradients written by hand.

A sum over all images reads everything; here each pass over the maps makes two such sums.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def two_sums(
    x: Float[Array, "*sizes c"], y: Float[Array, "*sizes c"]
) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """The sums of each channel of two arrays, in one pass."""

    def add(sums: tuple[Array, Array], more: tuple[Array, Array]) -> tuple[Array, Array]:
        return sums[0] + more[0], sums[1] + more[1]

    zero = jnp.float32(0)
    return jax.lax.reduce((x, y), (zero, zero), add, range(x.ndim - 1))


@jax.custom_vjp
def moments(x: Float[Array, "*sizes c"]) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """The mean of each channel and of its squares, in float32."""
    wide, number = x.astype(jnp.float32), x.size // x.shape[-1]
    total, squares = two_sums(wide, wide * wide)
    return total / number, squares / number


def _moments_forward(x: Array) -> tuple[tuple[Array, Array], Array]:
    return moments(x), x


def _moments_backward(x: Array, g: tuple[Array, Array]) -> tuple[Array]:
    number = x.size // x.shape[-1]
    return (((g[0] + 2 * x.astype(jnp.float32) * g[1]) / number).astype(x.dtype),)


moments.defvjp(_moments_forward, _moments_backward)


def scale(x: Array, factor: Array, shift: Array) -> Array:
    """Each channel times its factor, plus its shift, in the dtype of the maps."""
    return x * factor.astype(x.dtype) + shift.astype(x.dtype)


def positive(x: Array, factor: Array, shift: Array) -> Array:
    """The same where it is positive, else 0."""
    return jax.nn.relu(scale(x, factor, shift))


fast_positive = jax.custom_vjp(positive)


def _positive_forward(
    x: Array, factor: Array, shift: Array
) -> tuple[Array, tuple[Array, Array, Array]]:
    return positive(x, factor, shift), (x, factor, shift)


def _positive_backward(saved: tuple[Array, Array, Array], g: Array) -> tuple[Array, Array, Array]:
    x, factor, shift = saved
    passed = jnp.where(scale(x, factor, shift) > 0, g, 0).astype(jnp.float32)
    to_factor, to_shift = two_sums(passed * x.astype(jnp.float32), passed)
    return (passed * factor).astype(x.dtype), to_factor, to_shift


fast_positive.defvjp(_positive_forward, _positive_backward)
