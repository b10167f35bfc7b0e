"""Maps in memory: the usual order [b, h, w, c] (NHWC), and those that are fast somewhere."""

from jaxtyping import Array, Float

from lenet_alexnet.ops.cpu.folded import Folded
from lenet_alexnet.ops.cpu.lanes import Lanes
from lenet_alexnet.ops.cpu.winograd import HWNC

ChannelsLast = Float[Array, "_ _ _ _"] | HWNC
Maps = ChannelsLast | Folded | Lanes


def nhwc(x: Float[Array, "..."] | HWNC | Folded | Lanes) -> Array:
    """Maps in the usual order, whichever they were in; other arrays as they are."""
    return x.nhwc() if isinstance(x, HWNC | Folded | Lanes) else x


def channels_last(x: Maps) -> ChannelsLast:
    """Maps with the channels as the last axis of their one array (a leaf of `jax.tree`)."""
    return x.nhwc() if isinstance(x, Folded | Lanes) else x
