"""Operations on the channels of maps, in any layout."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.ops import scale
from lenet_alexnet.ops.fast import mark
from lenet_alexnet.ops.forms import ConvForm
from lenet_alexnet.ops.layouts import HWNC, Maps, Normalised, Scaled, channels_last, nhwc
from lenet_alexnet.runtime import target


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


def channel_moments(
    x: Maps, form: ConvForm = "plain"
) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """The mean of each channel and of its squares, in float32; on GPUs in one pass."""
    (data,) = jax.tree.leaves(channels_last(x))
    if form != "plain" and target.platform() != "cpu":
        return scale.moments(mark(data))
    wide = data.astype(jnp.float32)
    return wide.mean((0, 1, 2)), (wide * wide).mean((0, 1, 2))


def scale_channels(
    x: Maps, factor: Float[Array, " c"], shift: Float[Array, " c"], form: ConvForm = "plain"
) -> Maps:
    """Each channel times its factor, plus its shift, in the dtype of the maps.

    Except in the `plain` form, GPUs compute the values where they are read, see `Scaled`.
    """
    x = channels_last(x)
    if form != "plain" and target.platform() != "cpu" and not isinstance(x, HWNC):
        return Scaled(mark(x), factor, shift)
    return jax.tree.map(lambda a: scale.scale(a, factor, shift), x)


def activate(x: Maps, activation: Callable[[Array], Array]) -> Maps:
    """The activation of every unit."""
    if isinstance(x, Scaled) and activation is jax.nn.relu:
        return x.replace(relu=True)
    return jax.tree.map(activation, nhwc(x) if isinstance(x, Normalised | Scaled) else x)


def flatten(x: Maps) -> Float[Array, "b n"]:
    """All numbers of each image, by row, column and channel."""
    return nhwc(x).reshape(x.shape[0], -1)
