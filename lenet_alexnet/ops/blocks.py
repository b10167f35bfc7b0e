"""A stride as blocks of neighbours that become channels."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.ops.forms import Padding


def fold_stride(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k c f"],
    stride: int,
    padding: Padding,
    *,
    inside: bool = False,
) -> tuple[Array, Array]:
    """Maps and kernel with stride x stride blocks as channels: the same convolution, stride 1.

    The maps are [b, rows, columns, channels] or, with the batch `inside`, [rows, columns, b,
    channels], without padding.
    """
    size, _, channels, filters = kernel.shape
    steps = -(-size // stride)  # the kernel's side in blocks
    blocks = [
        (n + sum(more) - size) // stride + steps
        for n, more in zip(x.shape[1:3], padding, strict=True)
    ]
    ends = [
        (before, max(n * stride - side - before, 0))
        for n, side, (before, _) in zip(blocks, x.shape[1:3], padding, strict=True)
    ]
    x = jnp.pad(x, ((0, 0), *ends, (0, 0)))[:, : blocks[0] * stride, : blocks[1] * stride]
    x = x.reshape(len(x), blocks[0], stride, blocks[1], stride, channels)
    x = x.transpose((1, 3, 0, 2, 4, 5) if inside else (0, 1, 3, 2, 4, 5))
    free = steps * stride - size
    kernel = jnp.pad(kernel, ((0, free), (0, free), (0, 0), (0, 0)))
    kernel = kernel.reshape(steps, stride, steps, stride, channels, filters)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(steps, steps, stride * stride * channels, filters)
    return x.reshape(*x.shape[:3], stride * stride * channels), kernel
