"""Convolution in the forms that are fast on CPUs, and the choice of the fastest."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.ops.cpu import native
from lenet_alexnet.ops.cpu.folded import add_bias, conv_folded
from lenet_alexnet.ops.cpu.vectors import conv_vectors
from lenet_alexnet.ops.cpu.winograd import LARGEST_TILE, conv_winograd
from lenet_alexnet.ops.fast import require_numbers
from lenet_alexnet.ops.forms import NO_PADDING, ConvForm, Padding
from lenet_alexnet.ops.layouts import HWNC, VECTOR, Folded, Maps, Vectors, nhwc


def conv2d(
    x: Maps,
    kernel: Float[Array, "k k c f"],
    bias: Float[Array, " f"] | None,
    form: ConvForm,
    *,
    stride: int,
    padding: Padding,
) -> Maps:
    """The convolution of `ops.conv2d` as `native`, `block` or `winograd`, if it `fits`."""
    if form == "native":
        return conv_vectors(x if isinstance(x, Vectors) else nhwc(x), kernel, bias, padding)
    if form == "block":
        if padding != NO_PADDING:
            x = jnp.pad(nhwc(x), ((0, 0), *padding, (0, 0)))
        blocks = conv_folded(x if isinstance(x, Folded) else nhwc(x), kernel)
        return blocks if bias is None else add_bias(blocks, bias)
    out = conv_winograd(x if isinstance(x, HWNC) else nhwc(x), kernel, stride, padding)
    return out if bias is None else jax.tree.map(lambda a: a + bias, out)


def fastest_form(shape: tuple[Any, ...], kernel: Array, stride: int, padding: Padding) -> ConvForm:
    """The fastest form for maps of a shape; may compile the loops in C++.

    Raises:
      UsageError: a size is a symbol, as in an export for any batch.
    """
    require_numbers(shape)
    channels, filters = kernel.shape[2:]
    few = channels <= 4 or (channels <= 16 and filters <= 32)
    if not few or stride > 1:
        return "winograd"
    if shape[0] >= VECTOR and native.ensure_compiled() is None:
        return "native"
    return "block" if padding == NO_PADDING else "winograd"


def fits(form: ConvForm, kernel: Array, stride: int) -> bool:
    """Whether a form supports this convolution."""
    if form in ("native", "block"):
        return stride == 1
    return -(-kernel.shape[0] // stride) in LARGEST_TILE
