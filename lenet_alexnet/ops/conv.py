"""Convolution: the plain form, and the choice of the form."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from lenet_alexnet.ops import cpu, gpu
from lenet_alexnet.ops.blocks import fold_stride
from lenet_alexnet.ops.cpu import native
from lenet_alexnet.ops.fast import mark
from lenet_alexnet.ops.forms import NO_PADDING, ConvForm, Padding
from lenet_alexnet.ops.layouts import Maps, nhwc
from lenet_alexnet.runtime import target


def conv2d(
    x: Maps,
    kernel: Float[Array, "k k c f"],
    form: ConvForm = "plain",
    *,
    bias: Float[Array, " f"] | None = None,
    stride: int = 1,
    padding: Padding = NO_PADDING,
) -> Maps:
    """A convolution (cross-correlation), its output in the layout of its form.

    `padding` is the number of zeros at the (top, bottom) and (left, right). `plain` has all
    derivatives and can be exported; the fast forms have gradients. `auto` takes `plain`, except on
    CPU, where XLA's convolutions are slow inside a loop. There, kernels with stride 1 and few
    channels get `native` (loops in C++, if there is a compiler and the batch fills their vectors)
    or, without padding, `block` (matrix products); others get `winograd`, up to side 5 (times the
    stride). `products` takes `block` or, for other strides, `winograd`: only matrix products, for
    many kernels side by side (vmap), which a GPU would get as one convolution with as many groups.
    `folded` makes blocks of stride x stride neighbours channels: the same sums with stride 1, for
    GPUs, whose matrix units waste most of their width on three channels. Stride 1 is `plain`.
    If a form does not support a convolution, `plain` computes it.

    Raises:
      UsageError: `native` is not available here; see `fast.mark` for the fast forms.
    """
    plain = form == "plain"
    if form == "auto":
        on_cpu = target.platform() == "cpu"
        form = cpu.fastest_form(x.shape, kernel, stride, padding) if on_cpu else "plain"
    elif form == "native":
        native.require()
    elif form == "products":
        form = "block" if stride == 1 else "winograd"
    elif form == "folded":
        if stride > 1:
            x, kernel = fold_stride(nhwc(x), kernel, stride, padding)
            stride, padding = 1, NO_PADDING
        form = "plain"
    if form == "plain" or not cpu.fits(form, kernel, stride):
        out = _conv_plain(nhwc(x), kernel, stride, padding)
        if bias is None:
            return out
        return out + bias if plain or not gpu.sums_apart(out) else gpu.add_bias(mark(out), bias)
    x, kernel, bias = jax.tree.map(mark, (x, kernel, bias))
    return cpu.conv2d(x, kernel, bias, form, stride=stride, padding=padding)


def conv_bias(
    x: Maps,
    kernel: Float[Array, "k k c f"],
    bias: Float[Array, " f"] | None,
    activation: Callable[[Array], Array],
    form: ConvForm = "plain",
    *,
    stride: int = 1,
    padding: Padding = NO_PADDING,
) -> Maps:
    """A convolution, the bias and the activation, as one layer."""
    out = conv2d(x, kernel, form, bias=bias, stride=stride, padding=padding)
    return jax.tree.map(activation, out)


def _conv_plain(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout)
