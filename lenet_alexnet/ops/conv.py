"""Convolution, in the forms that are fast somewhere."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.ops.folded import Folded, conv_folded, unfold

ConvForm = Literal["auto", "plain", "block", "rows"]
Padding = tuple[tuple[int, int], tuple[int, int]]
NONE: Padding = ((0, 0), (0, 0))


def conv2d(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k c f"],
    form: ConvForm = "auto",
    *,
    stride: int = 1,
    padding: Padding = NONE,
) -> Float[Array, "b h2 w2 f"]:
    """A convolution (cross-correlation).

    `padding` is the zeros added at the (top, bottom) and (left, right). `auto` takes `plain`, but
    on CPU, where XLA's convolutions are slow inside a loop, matrix products: `block` for kernels
    with few channels (4 to 8 times faster), `rows` for all others (10 to 20 times). `block` is for
    stride 1 without padding.
    """
    if form == "auto":
        form = _fastest(kernel, stride, padding)
    if form == "plain":
        return _conv_plain(x, kernel, stride, padding)
    if form == "block":
        return conv_folded(x, kernel).unfold()
    return _conv_rows(x, kernel, stride, padding)


def conv_bias(
    x: Float[Array, "b h w c"] | Folded,
    kernel: Float[Array, "k k c f"],
    bias: Float[Array, " f"],
    activation: Callable[[Array], Array],
) -> Float[Array, "b h2 w2 f"] | Folded:
    """A convolution with stride 1 and no padding, the bias and the squashing, as one layer.

    Where `block` is the fastest form, the maps stay in its order for the next layer.
    """
    if _fastest(kernel, 1, NONE) == "block":
        out = conv_folded(x, kernel, bias)
        return out.replace(data=activation(out.data))
    return activation(conv2d(unfold(x), kernel) + bias)


def _fastest(kernel: Array, stride: int, padding: Padding) -> ConvForm:
    if jax.default_backend() != "cpu":
        return "plain"
    simple = stride == 1 and padding == NONE
    few = kernel.shape[2] <= 16 and kernel.shape[3] <= 32
    return "block" if simple and few else "rows"


def _conv_plain(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout)


def _conv_rows(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """The same numbers from one matrix product for each row of the kernel.

    Windows are laid out along the width alone, so the copy is `size` times the input, not its
    square. A stride becomes 1 by folding stride x stride blocks into channels.
    """
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    if stride > 1:
        x, kernel = _fold(x, kernel, stride)
    batch, height, width, channels = x.shape
    size, _, _, filters = kernel.shape
    rows, columns = height - size + 1, width - size + 1
    seen = jnp.concatenate([x[:, :, j : j + columns] for j in range(size)], axis=-1)
    lines = kernel.reshape(size, size * channels, filters)
    out = (
        sum(seen[:, i : i + rows].reshape(-1, size * channels) @ lines[i] for i in range(1, size))
        + seen[:, :rows].reshape(-1, size * channels) @ lines[0]
    )
    return out.reshape(batch, rows, columns, filters)


def _fold(x: Array, kernel: Array, stride: int) -> tuple[Array, Array]:
    """Image and kernel with stride x stride blocks as channels: the same convolution, stride 1."""
    batch, height, width, channels = x.shape
    size, _, _, filters = kernel.shape
    steps = -(-size // stride)  # the kernel's side in blocks
    rows, columns = ((n - size) // stride + steps for n in (height, width))
    grow = [max(n * stride - side, 0) for n, side in ((rows, height), (columns, width))]
    x = jnp.pad(x, ((0, 0), (0, grow[0]), (0, grow[1]), (0, 0)))
    x = x[:, : rows * stride, : columns * stride]
    x = x.reshape(batch, rows, stride, columns, stride, channels).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(batch, rows, columns, stride * stride * channels)
    free = steps * stride - size
    kernel = jnp.pad(kernel, ((0, free), (0, free), (0, 0), (0, 0)))
    kernel = kernel.reshape(steps, stride, steps, stride, channels, filters)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5)
    return x, kernel.reshape(steps, steps, stride * stride * channels, filters)
