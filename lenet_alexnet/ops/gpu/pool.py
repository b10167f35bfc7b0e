"""Max pooling that remembers which input of each window was the largest, as one byte.

The gradient then reads neither the inputs nor the outputs: in AlexNet's first layers these are
several times as many bytes.
"""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array


def window_max(x: Array, size: int, stride: int, rows: int) -> Array:
    """The largest of each size x size window, `stride` apart, over the axes `rows` and `rows` + 1.

    No window reaches over the edge. The gradient goes to the first of equal maxima, by rows.
    """
    return _window_max(x, size, stride, rows, x.shape[rows : rows + 2])


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _window_max(x: Array, size: int, stride: int, rows: int, sides: tuple[int, ...]) -> Array:
    return _forward(x, size, stride, rows, sides)[0]


def _forward(
    x: Array, size: int, stride: int, rows: int, sides: tuple[int, ...]
) -> tuple[Array, Array]:
    """The maxima, and the number of each in its window, by rows."""
    ends = [(side - size) // stride * stride + 1 for side in sides]

    def entries(i: int, j: int) -> Array:
        part = jax.lax.slice_in_dim(x, i, i + ends[0], stride, rows)
        return jax.lax.slice_in_dim(part, j, j + ends[1], stride, rows + 1)

    largest = entries(0, 0)
    which = jnp.zeros(largest.shape, jnp.uint8)
    for n, (i, j) in _places(size)[1:]:
        part = entries(i, j)
        kept = (largest >= part) | jnp.isnan(largest)
        largest, which = jnp.where(kept, largest, part), jnp.where(kept, which, jnp.uint8(n))
    return largest, which


def _backward(
    size: int, stride: int, rows: int, sides: tuple[int, ...], which: Array, g: Array
) -> tuple[Array]:
    zero = jnp.zeros((), g.dtype)

    def placed(n: int, i: int, j: int) -> Array:
        padding = [(0, 0, 0)] * g.ndim
        for axis, start, side in ((rows, i, sides[0]), (rows + 1, j, sides[1])):
            last = start + (g.shape[axis] - 1) * stride
            padding[axis] = (start, side - 1 - last, stride - 1)
        return jax.lax.pad(jnp.where(which == n, g, zero), zero, padding)

    first, *others = [placed(n, i, j) for n, (i, j) in _places(size)]
    return (sum(others, first),)


def _places(size: int) -> list[tuple[int, tuple[int, ...]]]:
    """The number, row and column of each entry of a window."""
    return list(enumerate(itertools.product(range(size), repeat=2)))


_window_max.defvjp(_forward, _backward)
