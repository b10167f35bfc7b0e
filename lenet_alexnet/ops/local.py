"""Convolution with unshared weights: every position has separate filters ("local" layers)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.ops.layouts import HWNC, ChannelsLast, Maps, channels_last


def local_conv2d(
    x: Maps, kernel: Float[Array, "h w k k c f"], bias: Float[Array, "h w f"], *, padding: int
) -> ChannelsLast:
    """Each output [y, x] is the product of its k x k inputs and its filters, plus its bias.

    `padding` zeros are added on every side; the stride is 1. Each position is one product,
    [b, k k c] by [k k c, f].
    """
    x = channels_last(x)
    if isinstance(x, HWNC):
        return jax.tree.map(lambda data: _products(data, kernel, bias, padding), x)
    return jnp.moveaxis(_products(jnp.moveaxis(x, 0, 2), kernel, bias, padding), 2, 0)


def _products(
    x: Float[Array, "rows columns b c"], kernel: Array, bias: Array, padding: int
) -> Float[Array, "h w b f"]:
    height, width, size = kernel.shape[:3]
    edge = (padding, padding)
    padded = jnp.pad(x, (edge, edge, (0, 0), (0, 0)))
    windows = [padded[i : i + height, j : j + width] for i in range(size) for j in range(size)]
    rows = jnp.concatenate(windows, axis=-1)  # h, w, b, k k c
    filters = kernel.reshape(height, width, -1, kernel.shape[-1])
    return jnp.matmul(rows, filters) + bias[:, :, None]
