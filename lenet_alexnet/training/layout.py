"""Many devices: the mesh, and which device holds which part of the state, the data, the batches.

A step is one jitted program over the whole mesh; `sharded_forward.py` runs the network on it.
Three modes:

- dp: the batch is cut over all devices, the parameters are on every device;
- tower: the two devices of a pair hold AlexNet's two towers (Krizhevsky et al. 2012, sec. 3.2),
  and the batch is cut over the pairs;
- owt: the batch is cut over all devices for the convolutions, the units over all devices for the
  dense layers (Krizhevsky 2014, "one weird trick"). The batch is gathered before fc6, at once or
  (`turns`) in as many parts as there are devices; `update_each_turn` updates fc6 to fc8 after each.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.models.alexnet.axes import Axes
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.training.state import without

MODES = ("dp", "tower", "owt")
DENSE = ("fc6", "fc7")
HEAD = (*DENSE, "fc8")


class Layout:
    """How the state, the data and the batches of a run are placed on devices.

    Attributes:
      mesh: of the axes "data" and "tower".
      replicated, batches: shardings: on every device; [K, batch, ...] cut along the batch.
      axes: the mesh axes that the network uses.
      dense_updates: how often a step updates the dense layers, see `turn_update.py`.
    """

    def __init__(
        self,
        mode: str = "dp",
        *,
        turns: bool = False,
        update_each_turn: bool = False,
        shard_optimizer: bool = False,
        devices: int | Sequence[jax.Device] = 0,
        model: nn.Module | None = None,
    ) -> None:
        """The entries of a config's `parallel` section, on these or the first `devices` (0: all).

        `model` is needed in modes other than dp, which must fit the network.

        Raises:
          UsageError: an unknown mode, or one that does not fit the network or the devices.
        """
        if mode not in MODES:
            raise UsageError(f"unknown parallel.mode '{mode}': {nearest(mode, MODES)}")
        used = jax.devices()[: devices or None] if isinstance(devices, int) else devices
        self.mode, self.shard_optimizer = mode, shard_optimizer
        if turns and mode != "owt":
            raise UsageError(f"parallel.turns is for mode owt, not '{mode}'")
        if update_each_turn and not turns:
            raise UsageError("parallel.update_each_turn needs parallel.turns")
        if mode != "dp":
            _check_mode(mode, model, len(used))
        pair = 2 if mode == "tower" else 1
        self.mesh = jax.make_mesh(
            (len(used) // pair, pair),
            ("data", "tower"),
            axis_types=(AxisType.Auto,) * 2,
            devices=used,
        )
        self.replicated = NamedSharding(self.mesh, P())
        self.batches = NamedSharding(self.mesh, P(None, "data"))  # [K, batch, ...]
        self.axes = Axes(
            data="data",
            tower="tower" if mode == "tower" else None,
            dense="data" if mode == "owt" else None,
            turns=turns and len(used) > 1,
        )
        self.dense_updates = len(used) if update_each_turn else 1

    @property
    def shards(self) -> int:
        """The number of parts that a batch is cut into."""
        return self.mesh.shape["data"]

    def check_batch(self, key: str, batch_size: int, accumulate: int = 1) -> None:
        """Raises UsageError with the nearest sizes that fit if a batch cannot be cut evenly."""
        if self.dense_updates > 1 and accumulate > 1:
            raise UsageError(f"parallel.update_each_turn: train.accumulate {accumulate}, take 1")
        turns = self.shards if self.axes.turns else 1
        unit = self.shards * turns * accumulate
        if batch_size % unit:
            low = batch_size // unit * unit
            fits = f"{low} or {low + unit}" if low else f"{unit}"
            parts = f"{self.shards} devices" + (f" x {turns} turns" if turns > 1 else "")
            parts += f" x {accumulate} parts" if accumulate > 1 else ""
            raise UsageError(f"{key} {batch_size} does not divide by {parts}: take {fits}")

    def put(self, tree: Any, sharding: NamedSharding | None = None) -> Any:
        """Places arrays that every process has, by `sharding` (default: on every device)."""
        where = sharding or self.replicated
        if jax.process_count() == 1:
            return jax.device_put(tree, where)

        def place(leaf: Any) -> Array:
            leaf = np.asarray(leaf)
            return jax.make_array_from_callback(leaf.shape, where, lambda index: leaf[index])

        with jax.transfer_guard("allow"):  # An explicit transfer, but the guard counts it implicit.
            return jax.tree.map(place, tree)

    def replace(self, leaf: np.ndarray, old: Any) -> Any:
        """Places an array as `old` is, which it replaces."""
        return self.put(leaf, old.sharding)

    def put_share(self, tree: Any) -> Any:
        """Whole batches from [K, share, ...], the part that each process has read."""
        if jax.process_count() == 1:
            return jax.device_put(tree, self.batches)
        with jax.transfer_guard("allow"):
            return jax.tree.map(
                lambda leaf: jax.make_array_from_process_local_data(self.batches, leaf), tree
            )

    def state(self, state: Any, tx: optax.GradientTransformation) -> Any:
        """The sharding of every leaf of a (traced) train state."""
        specs = self.specs(state.params)
        params = jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), specs)
        trained = without(params, state.frozen)

        def moment(leaf: Any, sharding: NamedSharding) -> NamedSharding:
            return self._spread(leaf, sharding.spec) if self.shard_optimizer else sharding

        opt_state = optax.tree_utils.tree_map_params(
            tx, moment, state.opt_state, trained, transform_non_params=lambda _: self.replicated
        )
        everywhere = jax.tree.map(lambda _: self.replicated, state)
        batch_stats = jax.tree.map(
            lambda spec: NamedSharding(self.mesh, spec), self.specs(state.batch_stats)
        )
        average = None if state.average is None else params
        return everywhere.replace(
            params=params, average=average, opt_state=opt_state, batch_stats=batch_stats
        )

    def specs(self, tree: Any) -> Any:
        """How each parameter (or batch statistic) is cut: one PartitionSpec per leaf."""

        def spec(path: tuple[Any, ...], leaf: Any) -> P:
            if self.mode == "tower" and leaf.ndim > 1:  # All except fc8's bias: [tower, ...].
                return P("tower")
            if self.mode == "owt" and path[0].key in DENSE:
                return P(*[None] * (leaf.ndim - 1), "data")  # by units
            if self.mode == "owt" and path[0].key == "fc8" and leaf.ndim > 1:
                return P(None, "data")  # by the units of fc7, its inputs
            return P()

        return jax.tree_util.tree_map_with_path(spec, tree)

    def _spread(self, leaf: Any, spec: P) -> NamedSharding:
        """The sharding of an optimizer's moment: also cut along its first free axis that fits."""
        parts = [*spec, *[None] * (leaf.ndim - len(spec))]
        if "data" not in parts:
            for axis, size in enumerate(leaf.shape):
                if parts[axis] is None and size % self.shards == 0:
                    parts[axis] = "data"
                    break
        return NamedSharding(self.mesh, P(*parts))


def most_devices(config: Any) -> int:
    """The largest number of available devices that divides the batch of a config."""
    rows, rest = divmod(config.train.batch_size, config.train.accumulate)
    return max(n for n in range(1, jax.device_count() + 1) if n == 1 or not (rest or rows % n))


def _check_mode(mode: str, model: nn.Module | None, devices: int) -> None:
    if not isinstance(model, AlexNet):
        raise UsageError(f"parallel.mode '{mode}' is AlexNet's: LeNet has mode dp")
    if mode == "tower":
        if model.towers != 2:
            raise UsageError("parallel.mode 'tower' needs two towers, this variant has one")
        if model.lrn == "caffe":
            raise UsageError("parallel.mode 'tower': lrn 'caffe' crosses the towers' border")
        if devices % 2:
            raise UsageError(f"parallel.mode 'tower' needs pairs of devices, there are {devices}")
    width = model.dense_width // model.towers
    if mode == "owt" and width % devices:
        raise UsageError(f"parallel.mode 'owt': {width} units are not cut evenly by {devices}")
