"""Response normalisation across maps (LRN) and within a map."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def response_norm(
    x: Float[Array, "b h w c"], *, size: int, k: float, alpha: float, beta: float
) -> Float[Array, "b h w c"]:
    """Across maps: x / (k + alpha * sum of x^2 over `size` neighbours)^beta (2012, sec. 3.3).

    The window of map i is i - size//2 .. i - size//2 + size - 1, cut off at the first and last map.
    """
    before = size // 2
    sums = _window_sums(
        x * x, (1, 1, 1, size), ((0, 0), (0, 0), (0, 0), (before, size - 1 - before))
    )
    return x * (k + alpha * sums) ** -beta


def spatial_response_norm(
    x: Float[Array, "b h w c"], *, size: int, k: float, alpha: float, beta: float
) -> Float[Array, "b h w c"]:
    """The same over size x size neighbours within a map ("rnorm" of layers-145.cfg)."""
    sides = (size // 2, size - 1 - size // 2)
    sums = _window_sums(x * x, (1, size, size, 1), ((0, 0), sides, sides, (0, 0)))
    return x * (k + alpha * sums) ** -beta


def _window_sums(x: Array, window: tuple[int, ...], padding: tuple[tuple[int, int], ...]) -> Array:
    zero = jnp.zeros((), x.dtype)
    return jax.lax.reduce_window(x, zero, jax.lax.add, window, (1, 1, 1, 1), padding)
