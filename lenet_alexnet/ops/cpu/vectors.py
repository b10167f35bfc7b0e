"""Maps with 16 images as the innermost axis, and the loops in C++ for them (`native/loops.cc`)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lenet_alexnet.ops.cpu import native
from lenet_alexnet.ops.forms import NO_PADDING, Padding
from lenet_alexnet.ops.layouts import VECTOR, Vectors


def conv_vectors(
    x: Float[Array, "b h w c"] | Vectors,
    kernel: Float[Array, "k k c f"],
    bias: Float[Array, " f"] | None = None,
    padding: Padding = NO_PADDING,
) -> Vectors:
    """A convolution with stride 1, and the bias, computed in float32."""
    if not isinstance(x, Vectors):
        x = Vectors.of(x)
    if padding != NO_PADDING:
        x = x.replace(data=jnp.pad(x.data, ((0, 0), (0, 0), *padding, (0, 0))))
    bias = jnp.zeros(kernel.shape[3]) if bias is None else bias
    axes = _own(x.data, kernel, bias)
    out = _conv(*(_mark(a.astype(jnp.float32), axes) for a in (x.data, kernel, bias)))
    return x.replace(data=out.astype(x.data.dtype))


def _own(*arrays: Array) -> frozenset[Any]:
    """The mesh axes along which, inside `shard_map`, any of these differs between devices."""
    return frozenset[Any]().union(*(jax.typeof(a).manual_axis_type.varying for a in arrays))


def _mark(x: Array, axes: frozenset[Any]) -> Array:
    """Marked as varying along these axes: JAX does not do it for foreign functions."""
    missing = tuple(axes - _own(x))
    return jax.lax.pcast(x, missing, to="varying") if missing else x


@jax.custom_vjp
def _conv(
    x: Float[Array, "n c h w 16"], kernel: Float[Array, "k k c f"], bias: Float[Array, " f"]
) -> Array:
    blocks, _, height, width, _ = x.shape
    size, filters = kernel.shape[0], kernel.shape[3]
    out = (blocks, filters, height - size + 1, width - size + 1, VECTOR)
    return _call("Conv", x, kernel, bias, shapes=[out])[0]


def _forward(x: Array, kernel: Array, bias: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel, bias), (x, kernel)


def _backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array, Array]:
    x, kernel = saved
    (of_x,) = _call("ConvInputs", g, kernel, shapes=[x.shape])
    of_kernel, of_bias = _call("ConvWeights", x, g, shapes=[kernel.shape, kernel.shape[3:]])
    return of_x, of_kernel, of_bias


_conv.defvjp(_forward, _backward)


def _call(
    name: str, *arguments: Array, shapes: Sequence[tuple[int, ...]], **attributes: np.int64
) -> Sequence[Array]:
    """A function of loops.cc, with results of these shapes."""
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    call = jax.ffi.ffi_call(native.PREFIX + name, results, vmap_method="sequential")
    return [_mark(found, _own(*arguments)) for found in call(*arguments, **attributes)]


def max_pool(x: Vectors, *, size: int, stride: int, ceil: bool) -> Vectors:
    """The largest of each size x size window, as in `ops.max_pool`; computed in float32."""
    out = _max_pool(x.data.astype(jnp.float32), size, stride, ceil)
    return x.replace(data=out.astype(x.data.dtype))


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: Float[Array, "n c h w 16"], size: int, stride: int, ceil: bool) -> Array:
    over = stride - 1 if ceil else 0
    sides = [(n - size + over) // stride + 1 for n in x.shape[2:4]]
    shape = (*x.shape[:2], *sides, VECTOR)
    return _call("MaxPool", x, shapes=[shape], size=np.int64(size), stride=np.int64(stride))[0]


def _max_pool_forward(
    x: Array, size: int, stride: int, ceil: bool
) -> tuple[Array, tuple[Array, Array]]:
    y = _max_pool(x, size, stride, ceil)
    return y, (x, y)


def _max_pool_backward(
    size: int, stride: int, ceil: bool, saved: tuple[Array, Array], g: Array
) -> tuple[Array]:
    del ceil  # the shapes tell
    sizes = {"size": np.int64(size), "stride": np.int64(stride)}
    return (_call("MaxPoolInputs", *saved, g, shapes=[saved[0].shape], **sizes)[0],)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def average(x: Vectors, size: int) -> Vectors:
    """The means of size x size neighbours; `size` divides height and width."""
    return x.replace(data=_average(x.data, size))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _average(x: Float[Array, "n c h w 16"], size: int) -> Array:
    """As sums of slices: XLA fuses these with their inputs, but not a sum over axes."""
    blocks, channels, height, width, _ = x.shape
    sides = (height // size, size, width // size, size)
    windows = x.reshape(blocks, channels, *sides, VECTOR)
    parts = [windows[:, :, :, i, :, j] for i in range(size) for j in range(size)]
    return sum(parts[1:], parts[0]) / size**2


def _average_forward(x: Array, size: int) -> tuple[Array, None]:
    return _average(x, size), None


def _average_backward(size: int, _: None, g: Array) -> tuple[Array]:
    blocks, channels, rows, columns = g.shape[:4]
    parts = (g / size**2)[:, :, :, None, :, None]
    whole = jnp.broadcast_to(parts, (blocks, channels, rows, size, columns, size, VECTOR))
    return (whole.reshape(blocks, channels, rows * size, columns * size, VECTOR),)


_average.defvjp(_average_forward, _average_backward)
