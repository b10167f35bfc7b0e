"""Layouts of maps in memory: the usual [b, h, w, c] (NHWC), and layouts that are fast on CPUs.

`shape` is always (b, h, w, c), each layout is a pytree of one array, and the operations take all
layouts.
"""

from typing import Any

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.ops.lrn import Window, fast_normalise
from lenet_alexnet.ops.scale import fast_positive, scale

VECTOR = 16  # kLanes of cpu/native/loops.cc


class HWNC(flax.struct.PyTreeNode):
    """Maps [b, h, w, c] as [h, w, b, c].

    Neighbours in a map are whole blocks of memory apart, so tiles, windows and their gradients are
    sums of blocks.
    """

    data: Any

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the maps: b, h, w, c."""
        height, width, batch, channels = self.data.shape
        return batch, height, width, channels

    def nhwc(self) -> Array:
        """The maps as an array [b, h, w, c]."""
        return self.data.transpose(2, 0, 1, 3)


class Folded(flax.struct.PyTreeNode):
    """Maps [b, h, w, c] as [side * side * c, h / side, w / side, b]."""

    data: Any
    side: int = flax.struct.field(pytree_node=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the maps: b, h, w, c."""
        channels, rows, columns, batch = self.data.shape
        return batch, rows * self.side, columns * self.side, channels // self.side**2

    def nhwc(self) -> Array:
        """The maps as an array [b, h, w, c]."""
        s, (batch, height, width, channels) = self.side, self.shape
        blocks = self.data.reshape(s, s, channels, height // s, width // s, batch)
        return blocks.transpose(5, 3, 0, 4, 1, 2).reshape(batch, height, width, channels)

    def with_side(self, side: int) -> "Folded":
        """The same maps in blocks of another side, a divisor of their height and width."""
        s, (batch, height, width, channels) = self.side, self.shape
        if s == side:
            return self
        maps = self.data.reshape(s, s, channels, height // s, width // s, batch)
        maps = maps.transpose(2, 3, 0, 4, 1, 5)
        maps = maps.reshape(channels, height // side, side, width // side, side, batch)
        maps = maps.transpose(2, 4, 0, 1, 3, 5)
        return Folded(maps.reshape(-1, *maps.shape[3:]), side)


class Vectors(flax.struct.PyTreeNode):
    """Maps [b, h, w, c] as [b / 16, c, h, w, 16]; if 16 does not divide b, zeros fill the rest."""

    data: Any
    batch: int = flax.struct.field(pytree_node=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the maps: b, h, w, c."""
        _, channels, height, width, _ = self.data.shape
        return self.batch, height, width, channels

    @classmethod
    def of(cls, x: Float[Array, "b h w c"]) -> "Vectors":
        """From maps in the usual layout."""
        batch, *sides = x.shape
        x = jnp.pad(x, ((0, -batch % VECTOR), (0, 0), (0, 0), (0, 0)))
        return cls(x.reshape(-1, VECTOR, *sides).transpose(0, 4, 2, 3, 1), batch)

    def nhwc(self) -> Array:
        """The maps as an array [b, h, w, c]."""
        _, height, width, channels = self.shape
        maps = self.data.transpose(0, 4, 2, 3, 1).reshape(-1, height, width, channels)
        return maps[: self.batch]


class Normalised(flax.struct.PyTreeNode):
    """Maps [b, h, w, c] after response normalisation, as those before it.

    The values are computed where they are read: pooling reads the maps before it and writes only
    what is left, so that a GPU never stores the normalised ones.
    """

    data: Any
    window: Window = flax.struct.field(pytree_node=False)
    k: float = flax.struct.field(pytree_node=False)
    alpha: float = flax.struct.field(pytree_node=False)
    beta: float = flax.struct.field(pytree_node=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the maps: b, h, w, c."""
        return self.data.shape

    def nhwc(self) -> Array:
        """The normalised maps as an array [b, h, w, c]."""
        return fast_normalise(self.data, self.window, self.k, self.alpha, self.beta)


class Scaled(flax.struct.PyTreeNode):
    """Maps [b, h, w, c] after batch normalisation, as those before it.

    Each value is factor * x + shift, with `relu` at least 0; it is computed where it is read, as in
    `Normalised`.
    """

    data: Any
    factor: Any  # [c]
    shift: Any  # [c]
    relu: bool = flax.struct.field(pytree_node=False, default=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the maps: b, h, w, c."""
        return self.data.shape

    def nhwc(self) -> Array:
        """The maps after it as an array [b, h, w, c]."""
        return (fast_positive if self.relu else scale)(self.data, self.factor, self.shift)


ChannelsLast = Float[Array, "_ _ _ _"] | HWNC
Maps = ChannelsLast | Folded | Vectors | Normalised | Scaled


def nhwc(x: Float[Array, "..."] | HWNC | Folded | Vectors | Normalised | Scaled) -> Array:
    """Maps of any layout in the usual one; other arrays unchanged."""
    return x.nhwc() if isinstance(x, HWNC | Folded | Vectors | Normalised | Scaled) else x


def channels_last(x: Maps) -> ChannelsLast:
    """Maps with the channels as the last axis of their array."""
    return x.nhwc() if isinstance(x, Folded | Vectors | Normalised | Scaled) else x


def rows_then_columns(x: Maps) -> ChannelsLast | Vectors:
    """Maps with an axis of their array for the rows, and the next for the columns."""
    return x if isinstance(x, Vectors) else channels_last(x)


def rows_axis(x: ChannelsLast | Vectors) -> int:
    """The axis of the rows in their array; the columns follow."""
    if isinstance(x, Vectors):
        return 2
    return 0 if isinstance(x, HWNC) else 1
