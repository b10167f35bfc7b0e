"""Operations on the channels of maps, in any layout."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.ops.layouts import Maps, channels_last, nhwc


def split_channels(x: Maps, parts: int) -> list[Maps]:
    """Equal parts of the channels, in order."""
    width, x = x.shape[-1] // parts, channels_last(x)

    def part(i: int) -> Maps:
        return jax.tree.map(lambda a: a[..., i * width : (i + 1) * width], x)

    return [part(i) for i in range(parts)]


def concatenate_channels(maps: Sequence[Maps]) -> Maps:
    """The channels of all maps, one after another."""
    ordered = [channels_last(x) for x in maps]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-1), *ordered)


def gather_channels(x: Maps, axis: str) -> Maps:
    """The channels of all devices along a mesh axis, one after another (inside `shard_map`)."""
    return jax.tree.map(
        lambda a: jax.lax.all_gather(a, axis, axis=a.ndim - 1, tiled=True), channels_last(x)
    )


def channel_moments(x: Maps) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """The mean of each channel and of its squares, in float32."""
    (data,) = jax.tree.leaves(channels_last(x))
    wide = data.astype(jnp.float32)
    return wide.mean((0, 1, 2)), (wide * wide).mean((0, 1, 2))


def scale_channels(x: Maps, factor: Float[Array, " c"], shift: Float[Array, " c"]) -> Maps:
    """Each channel times its factor, plus its shift, in the dtype of the maps."""
    return jax.tree.map(
        lambda a: a * factor.astype(a.dtype) + shift.astype(a.dtype), channels_last(x)
    )


def flatten(x: Maps) -> Float[Array, "b n"]:
    """All numbers of each image, by row, column and channel."""
    return nhwc(x).reshape(x.shape[0], -1)
