"""Response normalisation across maps (LRN) and within a map."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lenet_alexnet.ops.fast import mark
from lenet_alexnet.ops.forms import ConvForm
from lenet_alexnet.ops.layouts import ChannelsLast, Maps, channels_last, rows_axis
from lenet_alexnet.runtime import target

Window = tuple[int, int, int, int]


def response_norm(
    x: Maps, *, size: int, k: float, alpha: float, beta: float, form: ConvForm = "plain"
) -> ChannelsLast:
    """Across maps: x / (k + alpha * sum of x^2 over `size` neighbours)^beta (2012, sec. 3.3).

    The window of map i is i - size//2 .. i - size//2 + size - 1, cut off at the first and last map.
    Except in the `plain` form, the gradient is written by hand.
    """
    return _each(channels_last(x), (1, 1, 1, size), k, alpha, beta, form)


def spatial_response_norm(
    x: Maps, *, size: int, k: float, alpha: float, beta: float, form: ConvForm = "plain"
) -> ChannelsLast:
    """The same over size x size neighbours within a map ("rnorm" of layers-145.cfg)."""
    x = channels_last(x)
    window = (1, size, size, 1) if rows_axis(x) else (size, size, 1, 1)
    return _each(x, window, k, alpha, beta, form)


def _each(
    x: ChannelsLast, window: Window, k: float, alpha: float, beta: float, form: ConvForm
) -> ChannelsLast:
    if form == "plain":
        return jax.tree.map(lambda a: _normalise(a, window, k, alpha, beta), x)
    return jax.tree.map(lambda a: _fast(mark(a), window, k, alpha, beta), x)


def _normalise(x: Array, window: Window, k: float, alpha: float, beta: float) -> Array:
    wide = x.astype(jnp.float32)  # In bfloat16, sums of squares would lose small neighbours.
    divisor = k + alpha * _window_sums(wide * wide, window)
    return (wide / _power(divisor, beta)).astype(x.dtype)


_fast = jax.custom_vjp(_normalise, nondiff_argnums=(1, 2, 3, 4))


def _forward(x: Array, window: Window, k: float, alpha: float, beta: float) -> tuple[Array, Array]:
    return _fast(x, window, k, alpha, beta), x


def _backward(
    window: Window, k: float, alpha: float, beta: float, x: Array, g: Array
) -> tuple[Array]:
    """Everything except x is computed again, to save memory in AlexNet's first layers."""
    wide, g = x.astype(jnp.float32), g.astype(jnp.float32)
    divisor = k + alpha * _window_sums(wide * wide, window)
    scaled = g / _power(divisor, beta)
    term = scaled * wide / divisor
    if target.platform() != "cpu":
        # Else XLA computes it again for each of its neighbours, and reads all that it depends on.
        term = jax.lax.optimization_barrier(term.astype(x.dtype)).astype(jnp.float32)
    inner = _window_sums(term, window, transposed=True)
    return ((scaled - 2 * alpha * beta * wide * inner).astype(x.dtype),)


_fast.defvjp(_forward, _backward)


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
