"""The arithmetic of response normalisation, on arrays: values, and a gradient written by hand."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lenet_alexnet.runtime import target

Window = tuple[int, int, int, int]


def normalise(x: Array, window: Window, k: float, alpha: float, beta: float) -> Array:
    """X / (k + alpha * sum of x^2 over the window around each entry)^beta."""
    wide = x.astype(jnp.float32)  # In bfloat16, sums of squares would lose small neighbours.
    divisor = k + alpha * _window_sums(wide * wide, window)
    return (wide / _power(divisor, beta)).astype(x.dtype)


fast_normalise = jax.custom_vjp(normalise, nondiff_argnums=(1, 2, 3, 4))


def _forward(x: Array, window: Window, k: float, alpha: float, beta: float) -> tuple[Array, Array]:
    return fast_normalise(x, window, k, alpha, beta), x


def gradient(
    window: Window,
    k: float,
    alpha: float,
    beta: float,
    x: Array,
    g: Array,
    again: Array | None = None,
) -> tuple[Array]:
    """That of x, for that of the values, g; `again` is g once more, if it is computed twice.

    Everything except x is computed again, to save memory in AlexNet's first layers.
    """
    wide = x.astype(jnp.float32)
    divisor = k + alpha * _window_sums(wide * wide, window)
    power = _power(divisor, beta)
    scaled = g.astype(jnp.float32) / power
    term = scaled * wide / divisor
    if target.platform() != "cpu":
        # Else XLA computes it again for each of its neighbours, and reads all that it depends on.
        term = jax.lax.optimization_barrier(term.astype(x.dtype)).astype(jnp.float32)
    if again is not None:
        scaled = again.astype(jnp.float32) / power
    inner = _window_sums(term, window, transposed=True)
    return ((scaled - 2 * alpha * beta * wide * inner).astype(x.dtype),)


fast_normalise.defvjp(_forward, gradient)


def _power(divisor: Array, beta: float) -> Array:
    """divisor^beta; for beta = 0.75, two square roots are far cheaper than a power.

    The callers divide by it: XLA computes a quotient once, but a product with the inverse again for
    each slice that pooling takes.
    """
    return jnp.sqrt(divisor * jnp.sqrt(divisor)) if beta == 0.75 else divisor**beta


def _window_sums(x: Array, window: Window, transposed: bool = False) -> Array:
    """Sums over the window around each entry; `transposed`: over the windows that hold it."""
    for axis, size in enumerate(window):
        if size > 1:
            before = size - 1 - size // 2 if transposed else size // 2
            x = _line_sums(x, axis, size, before)
    return x


def _line_sums(x: Array, axis: int, size: int, before: int) -> Array:
    padding = [(0, 0)] * x.ndim
    padding[axis] = (before, size - 1 - before)
    padded, length = jnp.pad(x, padding), x.shape[axis]
    parts = [jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(size)]
    return sum(parts[1:], parts[0])
