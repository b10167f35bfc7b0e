"""Where AlexNet's towers, units and batch meet when they are on many devices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet import ops

Towers = list[Float[Array, "_ _"]]  # units
TowerMaps = list[ops.Maps]


class Axes(NamedTuple):
    """The mesh axes of the `shard_map` in which a network runs; None outside one."""

    data: str | None = None  # the batch is sharded over it
    tower: str | None = None  # each device holds one tower
    dense: str | None = None  # the units of the dense layers are sharded over it (Krizhevsky 2014)
    turns: bool = False  # the batch is gathered before them in parts, one after another

    def local(self, towers: int) -> int:
        """How many of the towers this device holds."""
        return 1 if self.tower else towers

    def dense_shards(self) -> int:
        """The number of shards of the units of a dense layer."""
        return jax.lax.axis_size(self.dense) if self.dense else 1

    def meet_maps(self, towers: TowerMaps) -> ops.Maps:
        """All towers' maps as one, where the two GPUs exchanged data."""
        together = ops.concatenate_channels(towers)
        return ops.gather_channels(together, self.tower) if self.tower else together

    def meet_units(self, towers: Towers) -> Float[Array, "_ _"]:
        """All towers' units as one."""
        together = jnp.concatenate(towers, axis=-1)
        if self.tower is None:
            return together
        return jax.lax.all_gather(together, self.tower, axis=1, tiled=True)

    def gather_batch(self, x: Array) -> Array:
        """The whole batch, if the units of the dense layers are sharded."""
        return jax.lax.all_gather(x, self.dense, axis=0, tiled=True) if self.dense else x

    def gather_units(self, towers: Towers) -> Towers:
        """All units of each tower, if they are sharded."""
        if self.dense is None:
            return towers
        return [jax.lax.all_gather(x, self.dense, axis=1, tiled=True) for x in towers]

    def sum_towers(self, x: Array) -> Array:
        """The sum of the devices' parts of the last layer's outputs; each keeps its batch."""
        if self.tower:
            x = jax.lax.psum(x, self.tower)
        if self.dense:
            x = jax.lax.psum_scatter(x, self.dense, scatter_dimension=0, tiled=True)
        return x
