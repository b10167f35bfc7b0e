"""Many devices: the mesh, who holds what, and the network's forward pass on it.

A step is one jitted program over the whole mesh; the network alone runs inside `shard_map`, where
each device does what it would do by itself, and every exchange is written out (`Axes` in
models/axes.py). Three modes:

- dp: the batch is cut over all devices, the parameters are everywhere;
- tower: devices come in pairs, each holds one of AlexNet's two towers (Krizhevsky et al. 2012, sec.
  3.2), and the batch is cut over the pairs;
- owt: the batch is cut over all devices for the convolutions, the units over all devices for the
  dense layers (Krizhevsky 2014, "one weird trick"): the whole batch meets before fc6, at once, or
  (`turns`) in as many parts as there are devices; `update_each_turn` moves fc6 to fc8 after each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, Key

from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.models.alexnet.axes import Axes
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.training import step as steps

MODES = ("dp", "tower", "owt")
DENSE = ("fc6", "fc7")
HEAD = (*DENSE, "fc8")
SMALL = 1_000_000  # numbers that travel as one array


ForwardTrain = Callable[..., tuple[Array, Any]]  # of variables, inputs, key: `step.forward_train`


class Gradients(NamedTuple):
    """Of some rows' losses, with the sums over them and new batch statistics."""

    of_params: Any
    seen: Any  # state.Seen
    batch_stats: Any


class Layout:
    """Where the state, the data and the batches of a run live."""

    def __init__(
        self, mode: str = "dp", *, turns: bool = False, update_each_turn: bool = False,
        shard_optimizer: bool = False, devices: int = 0, model: nn.Module | None = None,
    ) -> None:  # fmt: skip
        """`devices`: the first so many; 0: all. `model` is asked whether the mode suits it.

        Raises:
          UsageError: an unknown mode, or one that does not suit the network or the devices.
        """
        if mode not in MODES:
            raise UsageError(f"unknown parallel.mode '{mode}': {nearest(mode, MODES)}")
        used = jax.devices()[: devices or None]
        self.mode, self.shard_optimizer = mode, shard_optimizer
        if turns and mode != "owt":
            raise UsageError(f"parallel.turns is for mode owt, not '{mode}'")
        if update_each_turn and not turns:
            raise UsageError("parallel.update_each_turn needs parallel.turns")
        if mode != "dp":
            _check_mode(mode, model, len(used))
        pair = 2 if mode == "tower" else 1
        self.mesh = jax.make_mesh(
            (len(used) // pair, pair), ("data", "tower"), axis_types=(AxisType.Auto,) * 2,
            devices=used,
        )  # fmt: skip
        self.replicated = NamedSharding(self.mesh, P())
        self.batches = NamedSharding(self.mesh, P(None, "data"))  # [K, batch, ...]
        self.axes = Axes(
            data="data",
            tower="tower" if mode == "tower" else None,
            dense="data" if mode == "owt" else None,
            turns=turns and len(used) > 1,
        )
        self.turns = len(used) if update_each_turn else 1

    @property
    def shards(self) -> int:
        """The number of parts that a batch is cut into."""
        return self.mesh.shape["data"]

    def check_batch(self, key: str, batch_size: int, accumulate: int = 1) -> None:
        """Raises UsageError with the nearest sizes that fit if a batch cannot be cut evenly."""
        if self.turns > 1 and accumulate > 1:
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

    def state(self, state: Any, tx: optax.GradientTransformation) -> Any:
        """The sharding of every leaf of a (traced) train state."""
        specs = self.specs(state.params)
        params = jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), specs)

        def moment(leaf: Any, sharding: NamedSharding) -> NamedSharding:
            return self._spread(leaf, sharding.spec) if self.shard_optimizer else sharding

        opt_state = optax.tree_utils.tree_map_params(
            tx, moment, state.opt_state, params, transform_non_params=lambda _: self.replicated
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
        """How each parameter (or batch statistic) is cut: a PartitionSpec a leaf."""

        def spec(path: tuple[Any, ...], leaf: Any) -> P:
            if self.mode == "tower" and leaf.ndim > 1:  # All but fc8's bias: [tower, ...].
                return P("tower")
            if self.mode == "owt" and path[0].key in DENSE:
                return P(*[None] * (leaf.ndim - 1), "data")  # by units
            if self.mode == "owt" and path[0].key == "fc8" and leaf.ndim > 1:
                return P(None, "data")  # by the units of fc7, its inputs
            return P()

        return jax.tree_util.tree_map_with_path(spec, tree)

    def _spread(self, leaf: Any, spec: P) -> NamedSharding:
        """A leaf cut also along its first free axis that divides evenly: an optimizer's moments."""
        parts = [*spec, *[None] * (leaf.ndim - len(spec))]
        if "data" not in parts:
            for axis, size in enumerate(leaf.shape):
                if parts[axis] is None and size % self.shards == 0:
                    parts[axis] = "data"
                    break
        return NamedSharding(self.mesh, P(*parts))

    def forward(self, model: nn.Module, variables: Any, x: Array) -> Float[Array, "b k"]:
        """`step.forward` with the batch cut over the devices."""
        if self.mesh.size == 1:
            return steps.forward(model, variables, x)
        inside = self._inside(model, self.axes._replace(turns=False))
        run = jax.shard_map(
            lambda variables, x: steps.forward(inside, variables, x),
            mesh=self.mesh,
            in_specs=(self._variables(variables), P("data")),
            out_specs=P("data"),
        )
        return run(variables, x)

    def gradients(
        self, compute: Callable[..., Gradients], model: nn.Module, variables: Any, x: Array,
        labels: Int[Array, " b"], key: Key[Array, ""],
    ) -> Gradients:  # fmt: skip
        """What `compute` (forward_train, variables, x, labels, key) finds, of all rows.

        Where only the batch is cut, each device computes that of its own rows, and all sums are
        exchanged at once; else the network itself exchanges what it must.
        """
        if self.mesh.size == 1:
            forward_train: ForwardTrain = partial(steps.forward_train, model)
            return compute(forward_train, variables, x, labels, key)
        if self.mode != "dp":
            return compute(partial(self.forward_train, model), variables, x, labels, key)
        inside, specs = self._inside(model, self.axes), self._variables(variables)

        def local(variables: Any, x: Array, labels: Array, key: Array) -> Gradients:
            forward_train = partial(steps.forward_train, inside)
            found = compute(forward_train, _vary(variables, specs), x, labels, key)
            of_params, seen = sum_at_once((found.of_params, found.seen), "data")
            return Gradients(of_params, seen, found.batch_stats)

        run = jax.shard_map(
            local,
            mesh=self.mesh,
            in_specs=(specs, P("data"), P("data"), P()),
            out_specs=Gradients(P(), P(), specs.get("batch_stats", {})),
        )
        return run(variables, x, labels, key)

    def forward_train(
        self, model: nn.Module, variables: Any, x: Array, key: Key[Array, ""], **options: Any
    ) -> tuple[Float[Array, "b k"], Any]:
        """`step.forward_train` with the batch cut over the devices."""
        if self.mesh.size == 1:
            return steps.forward_train(model, variables, x, key, **options)
        inside, specs = self._inside(model, self.axes), self._variables(variables)

        def local(variables: Any, x: Array, key: Array) -> tuple[Array, Any]:
            return steps.forward_train(inside, _vary(variables, specs), x, key, **options)

        run = jax.shard_map(
            local,
            mesh=self.mesh,
            in_specs=(specs, P("data"), P()),
            out_specs=(P("data"), specs.get("batch_stats", {})),
        )
        return run(variables, x, key)

    def dense(
        self, model: nn.Module, params: Any, flat: Float[Array, "b n"], key: Key[Array, ""],
        position: Int[Array, " b"],
    ) -> Float[Array, "b k"]:  # fmt: skip
        """fc6 to fc8 as in training, on rows that stand at `position` in the batch."""
        inside = self._inside(model, self.axes._replace(turns=False))
        specs = {"params": self.specs(params)}

        def local(params: Any, flat: Array, key: Array, position: Array) -> Array:
            variables = _vary({"params": params}, specs)
            rngs = {"dropout": key}
            out = inside.apply(variables, flat, part="dense", position=position, rngs=rngs)
            return cast(Array, out)

        run = jax.shard_map(
            local, mesh=self.mesh, in_specs=(specs["params"], P("data"), P(), P()),
            out_specs=P("data"),
        )  # fmt: skip
        return run(params, flat, key, position)

    def _variables(self, variables: Any) -> Any:
        return {name: self.specs(tree) for name, tree in variables.items()}

    def _inside(self, model: nn.Module, axes: Axes) -> nn.Module:
        """The network as it is inside `shard_map`: AlexNet knows its axes, LeNet needs none."""
        return model.clone(axes=axes) if isinstance(model, AlexNet) else model


def most_devices(config: Any) -> int:
    """The most devices, of those there are, that share the batch of a config evenly."""
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


def sum_at_once(tree: Any, axis: str) -> Any:
    """The sums over a mesh axis of what each device has, a small tree in a single exchange.

    An exchange costs much the same for one number and for many thousands, and XLA for CPUs has one
    for each array. Large arrays travel as they are: they need not be copied.
    """
    leaves, structure = jax.tree.flatten(tree)
    if sum(leaf.size for leaf in leaves) > SMALL:
        return jax.lax.psum(tree, axis)
    flat = jnp.concatenate([leaf.astype(jnp.float32).ravel() for leaf in leaves])
    parts = jnp.split(jax.lax.psum(flat, axis), np.cumsum([leaf.size for leaf in leaves])[:-1])
    shaped = [
        part.reshape(leaf.shape).astype(leaf.dtype)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, shaped)


def _vary(variables: Any, specs: Any) -> Any:
    """Parameters that every device has, marked as its own, so that gradients are summed once."""

    def mark(leaf: Array, spec: P) -> Array:
        return leaf if "data" in spec else jax.lax.pcast(leaf, "data", to="varying")

    return {**variables, "params": jax.tree.map(mark, variables["params"], specs["params"])}
