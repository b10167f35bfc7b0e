"""Response normalisation across maps (LRN) and within a map."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Window = tuple[int, int, int, int]


def response_norm(
    x: Float[Array, "b h w c"], *, size: int, k: float, alpha: float, beta: float
) -> Float[Array, "b h w c"]:
    """Across maps: x / (k + alpha * sum of x^2 over `size` neighbours)^beta (2012, sec. 3.3).

    The window of map i is i - size//2 .. i - size//2 + size - 1, cut off at the first and last map.
    """
    return _normalise(x, (1, 1, 1, size), k, alpha, beta)


def spatial_response_norm(
    x: Float[Array, "b h w c"], *, size: int, k: float, alpha: float, beta: float
) -> Float[Array, "b h w c"]:
    """The same over size x size neighbours within a map ("rnorm" of layers-145.cfg)."""
    return _normalise(x, (1, size, size, 1), k, alpha, beta)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _normalise(x: Array, window: Window, k: float, alpha: float, beta: float) -> Array:
    wide = x.astype(jnp.float32)  # Squares of bfloat16 would lose their small neighbours.
    divisor = k + alpha * _window_sums(wide * wide, window)
    return (wide * _power(divisor, beta)).astype(x.dtype)


def _forward(x: Array, window: Window, k: float, alpha: float, beta: float) -> tuple[Array, Array]:
    return _normalise(x, window, k, alpha, beta), x


def _backward(
    window: Window, k: float, alpha: float, beta: float, x: Array, g: Array
) -> tuple[Array]:
    """Everything but x is computed again: memory is what AlexNet's first layers lack."""
    wide, g = x.astype(jnp.float32), g.astype(jnp.float32)
    divisor = k + alpha * _window_sums(wide * wide, window)
    scale = _power(divisor, beta)
    inner = _window_sums(g * wide * scale / divisor, window, transposed=True)
    return ((g * scale - 2 * alpha * beta * wide * inner).astype(x.dtype),)


_normalise.defvjp(_forward, _backward)


def _power(divisor: Array, beta: float) -> Array:
    """divisor^-beta; two square roots for the beta of 0.75 are far cheaper than a power."""
    if beta == 0.75:
        root = jax.lax.rsqrt(divisor)
        return root * jnp.sqrt(root)
    return divisor**-beta


def _window_sums(x: Array, window: Window, transposed: bool = False) -> Array:
    """Sums over the window around each entry; `transposed`: over the windows that hold it."""
    for axis, size in enumerate(window):
        if size > 1:
            before = size - 1 - size // 2 if transposed else size // 2
            x = _line_sums(x, axis, size, before)
    return x


def _line_sums(x: Array, axis: int, size: int, before: int) -> Array:
    length = x.shape[axis]
    if axis == x.ndim - 1:
        # Neighbouring maps lie side by side in memory: a product with a band of ones.
        offset = np.arange(length)[:, None] - np.arange(length)  # input - output
        band = (offset >= -before) & (offset < size - before)
        return x @ jnp.asarray(band, x.dtype)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (before, size - 1 - before)
    padded = jnp.pad(x, padding)
    parts = [jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(size)]
    return sum(parts[1:], parts[0])
