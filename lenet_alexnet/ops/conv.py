"""Convolution, in the forms that are fast somewhere."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
from jaxtyping import Array, Float

from lenet_alexnet.ops.cpu import native
from lenet_alexnet.ops.cpu.differentiation import mark, require_numbers
from lenet_alexnet.ops.cpu.folded import Folded, conv_folded
from lenet_alexnet.ops.cpu.lanes import LANES, Lanes, conv_lanes
from lenet_alexnet.ops.cpu.winograd import HWNC, LARGEST_TILE, Padding, conv_winograd
from lenet_alexnet.ops.layouts import ChannelsLast, Maps, nhwc

ConvForm = Literal["auto", "plain", "native", "block", "winograd"]
CONV_FORMS: tuple[ConvForm, ...] = get_args(ConvForm)
NONE: Padding = ((0, 0), (0, 0))


def conv2d(
    x: Maps,
    kernel: Float[Array, "k k c f"],
    form: ConvForm = "plain",
    *,
    bias: Float[Array, " f"] | None = None,
    stride: int = 1,
    padding: Padding = NONE,
) -> Maps:
    """A convolution (cross-correlation), its maps in the order in which its form leaves them.

    `padding` is the zeros added at the (top, bottom) and (left, right). `plain` has derivatives of
    every kind and can be exported; the fast forms have gradients. `auto` takes `plain`, but on CPU,
    where XLA's convolutions are slow inside a loop, for kernels with few channels, stride 1 and no
    padding `native` (our own loops, where a C++ compiler is at hand and the batch fills their
    vectors) or `block` (matrix products), else `winograd` for sides up to 5 (times the stride). A
    form that cannot have this convolution leaves it to `plain`.

    Raises:
      UsageError: `native` is asked for where it cannot be had; see `fast.mark` for the fast forms.
    """
    if form == "auto":
        form = _fastest(x.shape, kernel, stride, padding)
    elif form == "native":
        native.require()
    if not _fits(form, kernel, stride, padding):
        form = "plain"
    if form != "plain":
        x, kernel, bias = jax.tree.map(mark, (x, kernel, bias))
    if form == "native":
        return conv_lanes(x if isinstance(x, Lanes) else nhwc(x), kernel, bias)
    if form == "block":
        blocks = conv_folded(x if isinstance(x, Folded) else nhwc(x), kernel)
        return blocks if bias is None else blocks.add(bias)
    out: ChannelsLast
    if form == "winograd":
        out = conv_winograd(x if isinstance(x, HWNC) else nhwc(x), kernel, stride, padding)
    else:
        out = _conv_plain(nhwc(x), kernel, stride, padding)
    return out if bias is None else jax.tree.map(lambda a: a + bias, out)


def conv_bias(
    x: Maps,
    kernel: Float[Array, "k k c f"],
    bias: Float[Array, " f"] | None,
    activation: Callable[[Array], Array],
    form: ConvForm = "plain",
    *,
    stride: int = 1,
    padding: Padding = NONE,
) -> Maps:
    """A convolution, the bias and the squashing, as one layer."""
    out = conv2d(x, kernel, form, bias=bias, stride=stride, padding=padding)
    return jax.tree.map(activation, out)


def _fastest(shape: tuple[Any, ...], kernel: Array, stride: int, padding: Padding) -> ConvForm:
    if jax.default_backend() != "cpu":
        return "plain"
    require_numbers(shape)
    few = kernel.shape[2] <= 16 and kernel.shape[3] <= 32
    if not few or not _fits("block", kernel, stride, padding):
        return "winograd"
    return "native" if shape[0] >= LANES and native.problem() is None else "block"


def _fits(form: ConvForm, kernel: Array, stride: int, padding: Padding) -> bool:
    if form in ("native", "block"):
        return stride == 1 and padding == NONE
    return form == "plain" or -(-kernel.shape[0] // stride) in LARGEST_TILE


def _conv_plain(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout)
