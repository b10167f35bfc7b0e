"""Many devices: the mesh, who holds what, and the network's forward pass on it.

The batch axis is called "data". A step is one jitted program over the whole mesh; the network alone
runs inside `shard_map`, where each device does what it would do by itself, and every exchange is
written out.
"""

from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Key

from lenet_alexnet import step as steps
from lenet_alexnet.errors import UsageError, nearest

MODES = ("dp",)


class Layout:
    """Where the state, the data and the batches of a run live."""

    def __init__(
        self, mode: str = "dp", *, shard_optimizer: bool = False, devices: int = 0
    ) -> None:
        """`devices`: the first so many; 0: all."""
        if mode not in MODES:
            raise UsageError(f"unknown parallel.mode '{mode}': {nearest(mode, MODES)}")
        used = jax.devices()[: devices or None]
        self.mesh = jax.make_mesh(
            (len(used),), ("data",), axis_types=(AxisType.Auto,), devices=used
        )
        self.shard_optimizer = shard_optimizer
        self.replicated = NamedSharding(self.mesh, P())
        self.batches = NamedSharding(self.mesh, P(None, "data"))  # [K, batch, ...]

    @property
    def shards(self) -> int:
        """The number of parts that a batch is cut into."""
        return self.mesh.shape["data"]

    def check_batch(self, key: str, batch_size: int, accumulate: int = 1) -> None:
        """Raises UsageError with the nearest sizes that fit if a batch cannot be cut evenly."""
        unit = self.shards * accumulate
        if batch_size % unit:
            low = batch_size // unit * unit
            fits = f"{low} or {low + unit}" if low else f"{unit}"
            parts = f"{self.shards} devices" + (f" x {accumulate} parts" if accumulate > 1 else "")
            raise UsageError(f"{key} {batch_size} does not divide by {parts}: take {fits}")

    def put(self, tree: Any, sharding: NamedSharding | None = None) -> Any:
        """Arrays that every process has, to where `sharding` says (default: everywhere)."""
        where = sharding or self.replicated
        if jax.process_count() == 1:
            return jax.device_put(tree, where)

        def place(leaf: Any) -> Array:
            leaf = np.asarray(leaf)
            return jax.make_array_from_callback(leaf.shape, where, lambda index: leaf[index])

        with jax.transfer_guard("allow"):  # Explicit all the same, but JAX does not know it.
            return jax.tree.map(place, tree)

    def put_share(self, tree: Any) -> Any:
        """Batches [K, share, ...] of which each process has read its own part, as whole ones."""
        if jax.process_count() == 1:
            return jax.device_put(tree, self.batches)
        with jax.transfer_guard("allow"):
            return jax.tree.map(
                lambda leaf: jax.make_array_from_process_local_data(self.batches, leaf), tree
            )

    def agree(self, flag: bool) -> bool:
        """Whether any process says yes; all get the same answer."""
        if jax.process_count() == 1:
            return flag
        from jax.experimental import multihost_utils

        with jax.transfer_guard("allow"):
            return bool(np.any(multihost_utils.process_allgather(np.bool_(flag))))

    def state(self, state: Any, tx: optax.GradientTransformation) -> Any:
        """The sharding of every leaf of a (traced) train state."""
        params = jax.tree.map(self._param, state.params)

        def moment(leaf: Any, sharding: NamedSharding) -> NamedSharding:
            return self._spread(leaf) if self.shard_optimizer else sharding

        opt_state = optax.tree_utils.tree_map_params(
            tx, moment, state.opt_state, params, transform_non_params=lambda _: self.replicated
        )
        everywhere = jax.tree.map(lambda _: self.replicated, state)
        average = None if state.average is None else params
        return everywhere.replace(params=params, average=average, opt_state=opt_state)

    def _param(self, leaf: Any) -> NamedSharding:
        return self.replicated

    def _spread(self, leaf: Any) -> NamedSharding:
        """A leaf cut along its first axis that divides evenly: an optimizer's moments."""
        for axis, size in enumerate(leaf.shape):
            if size % self.shards == 0:
                return NamedSharding(self.mesh, P(*[None] * axis, "data"))
        return self.replicated

    def forward(self, model: nn.Module, variables: Any, x: Array) -> Float[Array, "b k"]:
        """`step.forward` with the batch cut over the devices."""

        def local(variables: Any, x: Array) -> Array:
            return steps.forward(model, variables, x)

        run = jax.shard_map(local, mesh=self.mesh, in_specs=(P(), P("data")), out_specs=P("data"))
        return run(variables, x)

    def forward_train(
        self, model: nn.Module, variables: Any, x: Array, key: Key[Array, ""]
    ) -> tuple[Float[Array, "b k"], Any]:
        """`step.forward_train` with the batch cut over the devices."""

        def local(variables: Any, x: Array, key: Array) -> tuple[Array, Any]:
            return steps.forward_train(model, self._vary(variables), x, key)

        run = jax.shard_map(
            local,
            mesh=self.mesh,
            in_specs=(P(), P("data"), P()),
            out_specs=(P("data"), P()),
        )
        return run(variables, x, key)

    def _vary(self, variables: Any) -> Any:
        """Parameters marked as each device's own, so that their gradients are summed just once."""
        params = jax.tree.map(lambda p: jax.lax.pcast(p, "data", to="varying"), variables["params"])
        return {**variables, "params": params}
