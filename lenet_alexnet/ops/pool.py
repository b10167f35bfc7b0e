"""Average and max pooling."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lenet_alexnet.ops import cpu, gpu
from lenet_alexnet.ops.fast import mark
from lenet_alexnet.ops.forms import ConvForm
from lenet_alexnet.ops.layouts import (
    ChannelsLast,
    Maps,
    Normalised,
    Scaled,
    channels_last,
    rows_axis,
    rows_then_columns,
)
from lenet_alexnet.runtime import target


def average_pool(x: Maps, size: int) -> Maps:
    """The means of non-overlapping windows; height and width are multiples of `size`."""
    pooled = cpu.average_pool(x, size)
    return _average_plain(channels_last(x), size) if pooled is None else pooled


def _average_plain(x: ChannelsLast, size: int) -> ChannelsLast:
    rows = rows_axis(x)

    def pool(data: Array) -> Array:
        sides = [(n // size, size) for n in data.shape[rows : rows + 2]]
        windows = data.reshape(*data.shape[:rows], *sides[0], *sides[1], *data.shape[rows + 2 :])
        return windows.mean((rows + 1, rows + 3))

    return jax.tree.map(pool, x)


def overlapping_average_pool(x: Maps, *, size: int, stride: int) -> Maps:
    """The mean of each size x size window, `stride` apart.

    A last window that reaches over the edge counts, too; its mean is over the inputs inside, as in
    cuda-convnet (conv_util.cuh: `AvgPooler`, `regionSize`).
    """
    x = rows_then_columns(x)
    rows = rows_axis(x)

    def pool(data: Array) -> Array:
        for axis in (rows, rows + 1):
            data = _line_mean(data, axis, size, stride)
        return data

    return jax.tree.map(pool, x)


def _line_mean(x: Array, axis: int, size: int, stride: int) -> Array:
    length = x.shape[axis]
    first, *others = _slices(_whole(x, axis, size, stride, 0.0), axis, size, stride)
    sums = sum(others, first)
    counts = [min(size, length - start) for start in range(0, sums.shape[axis] * stride, stride)]
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    return sums / jnp.asarray(counts, x.dtype).reshape(shape)


def max_pool(
    x: Maps, *, size: int, stride: int, ceil: bool = False, form: ConvForm = "plain"
) -> Maps:
    """The largest of each size x size window, `stride` apart.

    With `ceil`, a last window that reaches over the edge counts, too, as in the source of 2012
    (layer.py, PoolLayerParser); otherwise it is left out. The gradient goes to the first of equal
    maxima, by rows; except in the `plain` form, it is written by hand.
    """
    whole = not (ceil and _over(x.shape, size, stride))
    if whole and (isinstance(x, Normalised) or (isinstance(x, Scaled) and x.relu)):
        return gpu.unstored_window_max(x, size, stride)
    pooled = cpu.max_pool(x, size=size, stride=stride, ceil=ceil)
    if pooled is not None:
        return pooled
    x = channels_last(x)
    rows = rows_axis(x)

    def pool(data: Array) -> Array:
        # Columns first: then the first row wins among equal maxima, and in it the first column.
        for axis in (rows + 1, rows):
            if ceil:
                data = _whole(data, axis, size, stride, -jnp.inf)
            data = line_max(data, axis, size, stride)
        return data

    if form != "plain" and target.platform() != "cpu":
        return jax.tree.map(lambda data: _window_max(mark(data), rows, size, stride, ceil), x)
    if form == "plain":
        line_max: Callable[..., Array] = _line_max_plain
    else:
        line_max, x = _line_max, jax.tree.map(mark, x)

    return jax.tree.map(pool, x)


def _over(shape: tuple[Any, ...], size: int, stride: int) -> bool:
    """Whether the last window reaches over the edge; the batch's size may be a symbol."""
    return any((side - size) % stride for side in shape[1:3])


def _window_max(x: Array, rows: int, size: int, stride: int, ceil: bool) -> Array:
    if ceil:
        for axis in (rows, rows + 1):
            x = _whole(x, axis, size, stride, -jnp.inf)
    return gpu.window_max(x, size, stride, rows)


def _whole(x: Array, axis: int, size: int, stride: int, fill: float) -> Array:
    """Padded so that no window reaches over the edge."""
    over = (size - x.shape[axis]) % stride
    padding = [(0, over if i == axis else 0) for i in range(x.ndim)]
    return jnp.pad(x, padding, constant_values=fill) if over else x


def _line_max_plain(x: Array, axis: int, size: int, stride: int) -> Array:
    """The largest of `size` neighbours along an axis, by `where`, which has all derivatives."""
    first, *others = _slices(x, axis, size, stride)
    for part in others:
        first = jnp.where((first >= part) | jnp.isnan(first), first, part)
    return first


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _line_max(x: Array, axis: int, size: int, stride: int) -> Array:
    """The same with a gradient by hand: XLA's own is slow and atomic."""
    first, *others = _slices(x, axis, size, stride)
    for part in others:
        first = jnp.maximum(first, part)
    return first


def _slices(x: Array, axis: int, size: int, stride: int) -> list[Array]:
    """Entry i of every window, for each i."""
    end = (x.shape[axis] - size) // stride * stride + 1
    return [jax.lax.slice_in_dim(x, i, i + end, stride, axis) for i in range(size)]


def _forward(x: Array, axis: int, size: int, stride: int) -> tuple[Array, tuple[Array, Array]]:
    y = _line_max(x, axis, size, stride)
    return y, (x, y)


def _backward(
    axis: int, size: int, stride: int, saved: tuple[Array, Array], g: Array
) -> tuple[Array]:
    x, y = saved
    windows, length = y.shape[axis], x.shape[axis]
    free = jnp.ones_like(y, bool)
    # Entry i of window n lies in x at stride * (n + i // stride) + i % stride.
    shifts = -(-size // stride)
    blocks = max(windows + shifts - 1, -(-length // stride))
    sums = [jnp.zeros((*y.shape[:axis], blocks, *y.shape[axis + 1 :]), g.dtype)] * stride
    for i, part in enumerate(_slices(x, axis, size, stride)):
        hit = free & (part == y)
        free &= ~hit
        shift = i // stride
        padding = [(0, 0)] * x.ndim
        padding[axis] = (shift, blocks - windows - shift)
        sums[i % stride] += jnp.pad(jnp.where(hit, g, 0), padding)
    total = jnp.stack(sums, axis + 1).reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
    return (jax.lax.slice_in_dim(total, 0, length, axis=axis),)


_line_max.defvjp(_forward, _backward)
