"""Max pooling that remembers which input of each window was the largest, as one byte.

The gradient then reads neither the inputs nor the outputs: in AlexNet's first layers these are
several times as many bytes. After a normalisation, the windows are of the maps before it.
"""

import itertools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lenet_alexnet.ops import lrn, scale
from lenet_alexnet.ops.layouts import Normalised, Scaled

Sides = tuple[int, ...]


def window_max(x: Array, size: int, stride: int, rows: int) -> Array:
    """The largest of each size x size window, `stride` apart, over the axes `rows` and `rows` + 1.

    No window reaches over the edge. The gradient goes to the first of equal maxima, by rows.
    """
    return _window_max(x, size, stride, rows, x.shape[rows : rows + 2])


def unstored_window_max(x: Normalised | Scaled, size: int, stride: int) -> Array:
    """`window_max` of maps that are not stored: each is computed for each window."""
    if isinstance(x, Scaled):
        return _scaled_max(x.data, x.factor, x.shift, size, stride, x.shape[1:3])
    return _normalised_max(x.data, size, stride, (x.window, x.k, x.alpha, x.beta))


def _largest(
    x: Array, size: int, stride: int, rows: int, values: Callable[[Array], Array]
) -> tuple[Array, Array, Array]:
    """The maxima of the values, the number of each in its window, by rows, and its x."""
    ends = [(side - size) // stride * stride + 1 for side in x.shape[rows : rows + 2]]

    def entries(i: int, j: int) -> Array:
        part = jax.lax.slice_in_dim(x, i, i + ends[0], stride, rows)
        return jax.lax.slice_in_dim(part, j, j + ends[1], stride, rows + 1)

    source = entries(0, 0)
    largest, which = values(source), jnp.zeros(source.shape, jnp.uint8)
    for n, (i, j) in _places(size)[1:]:
        other = entries(i, j)
        part = values(other)
        kept = (largest >= part) | jnp.isnan(largest)
        largest, which = jnp.where(kept, largest, part), jnp.where(kept, which, jnp.uint8(n))
        source = jnp.where(kept, source, other)
    return largest, which, source


def _back(size: int, stride: int, rows: int, sides: Sides, which: Array, g: Array) -> Array:
    """The gradient of each window at the place of its maximum; windows that share it are added.

    Entries whose row and column have one remainder by the stride lie in the same few windows: for
    size 3 and stride 2, in 4, 2, 2 or 1 of them. So their sums have no terms that are always 0.
    """
    zero = jnp.zeros((), g.dtype)
    blocks = [-(-side // stride) for side in sides]

    def placed(n: int, i: int, j: int) -> Array:
        padding = [(0, 0, 0)] * g.ndim
        for axis, start, end in (
            (rows, i // stride, blocks[0]),
            (rows + 1, j // stride, blocks[1]),
        ):
            padding[axis] = (start, end - start - g.shape[axis], 0)
        return jax.lax.pad(jnp.where(which == n, g, zero), zero, padding)

    def of_remainders(r: int, c: int) -> Array:
        own = [(n, i, j) for n, (i, j) in _places(size) if (i % stride, j % stride) == (r, c)]
        parts = [placed(n, i, j) for n, i, j in own]
        return sum(parts[1:], parts[0]) if parts else jnp.full(placed(0, 0, 0).shape, zero)

    # The blocks' own rows and columns become axes behind those of the blocks.
    lines = [
        jnp.stack([of_remainders(r, c) for c in range(stride)], rows + 2) for r in range(stride)
    ]
    whole = jnp.stack(lines, rows + 1)
    shape = (*g.shape[:rows], *(n * stride for n in blocks), *g.shape[rows + 2 :])
    whole = whole.reshape(shape)
    for axis, side in zip((rows, rows + 1), sides, strict=True):
        whole = jax.lax.slice_in_dim(whole, 0, side, axis=axis)
    return whole


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _window_max(x: Array, size: int, stride: int, rows: int, sides: Sides) -> Array:
    return _largest(x, size, stride, rows, lambda part: part)[0]


def _forward(x: Array, size: int, stride: int, rows: int, sides: Sides) -> tuple[Array, Array]:
    return _largest(x, size, stride, rows, lambda part: part)[:2]


def _backward(
    size: int, stride: int, rows: int, sides: Sides, which: Array, g: Array
) -> tuple[Array]:
    return (_back(size, stride, rows, sides, which, g),)


_window_max.defvjp(_forward, _backward)


Norm = tuple[lrn.Window, float, float, float]  # window, k, alpha, beta


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _normalised_max(x: Array, size: int, stride: int, norm: Norm) -> Array:
    return _largest(x, size, stride, 1, lambda part: lrn.normalise(part, *norm))[0]


def _normalised_forward(
    x: Array, size: int, stride: int, norm: Norm
) -> tuple[Array, tuple[Array, Array]]:
    largest, which, _ = _largest(x, size, stride, 1, lambda part: lrn.normalise(part, *norm))
    return largest, (x, which)


def _normalised_backward(
    size: int, stride: int, norm: Norm, saved: tuple[Array, Array], g: Array
) -> tuple[Array]:
    x, which = saved
    # It is needed twice, and cheaper to compute again than to store.
    again = jax.lax.optimization_barrier((which, g))
    back, once_more = (_back(size, stride, 1, x.shape[1:3], *of) for of in ((which, g), again))
    return lrn.gradient(*norm, x, back, once_more)


_normalised_max.defvjp(_normalised_forward, _normalised_backward)


NOWHERE = 255  # in place of the maximum's number: it has no gradient


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _scaled_max(
    x: Array, factor: Array, shift: Array, size: int, stride: int, sides: Sides
) -> Array:
    return _largest(x, size, stride, 1, lambda part: scale.positive(part, factor, shift))[0]


def _scaled_forward(
    x: Array, factor: Array, shift: Array, size: int, stride: int, sides: Sides
) -> tuple[Array, tuple[Array, Array, Array]]:
    largest, which, source = _largest(
        x, size, stride, 1, lambda part: scale.positive(part, factor, shift)
    )
    which = jnp.where(largest > 0, which, jnp.uint8(NOWHERE))
    # Else XLA stores how each comparison ended, and finds the other two in the gradient.
    largest, which, source = jax.lax.optimization_barrier((largest, which, source))
    return largest, (which, source, factor)


def _scaled_backward(
    size: int, stride: int, sides: Sides, saved: tuple[Array, Array, Array], g: Array
) -> tuple[Array, Array, Array]:
    """All sums are of pooled maps, as the gradient is 0 everywhere except at the maxima."""
    which, source, factor = saved
    passed = jnp.where(which == NOWHERE, 0, g).astype(jnp.float32)
    to_factor, to_shift = scale.two_sums(passed * source.astype(jnp.float32), passed)
    back = _back(size, stride, 1, sides, which, g).astype(jnp.float32) * factor
    return back.astype(source.dtype), to_factor, to_shift


_scaled_max.defvjp(_scaled_forward, _scaled_backward)


def _places(size: int) -> list[tuple[int, tuple[int, ...]]]:
    """The number, row and column of each entry of a window."""
    return list(enumerate(itertools.product(range(size), repeat=2)))
