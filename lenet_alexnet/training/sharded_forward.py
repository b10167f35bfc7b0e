"""The network's forward pass and gradients over the devices of a layout.

Only the network runs inside `shard_map`. There each device computes as if it were alone, and every
exchange is explicit (`Axes` in models/alexnet/axes.py).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, Key

from lenet_alexnet.models.alexnet.axes import Axes
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.training.forward import forward, forward_train
from lenet_alexnet.training.layout import Layout

SMALL = 1_000_000  # numbers that are exchanged as one array

ForwardTrain = Callable[..., tuple[Array, Any]]  # of variables, inputs, key: `forward_train`


class Gradients(NamedTuple):
    """The gradients of some rows' losses, the sums over these rows, and new batch statistics."""

    of_params: Any
    seen: Any  # state.Seen
    batch_stats: Any


def sharded_forward(
    layout: Layout, model: nn.Module, variables: Any, x: Array
) -> Float[Array, "b k"]:
    """`forward` with the batch cut over the devices."""
    if layout.mesh.size == 1:
        return forward(model, variables, x)
    inside = _inside(model, layout.axes._replace(turns=False))
    run = jax.shard_map(
        partial(forward, inside),
        mesh=layout.mesh,
        in_specs=(_specs(layout, variables), P("data")),
        out_specs=P("data"),
    )
    return run(variables, x)


def sharded_forward_train(
    layout: Layout, model: nn.Module, variables: Any, x: Array, key: Key[Array, ""], **options: Any
) -> tuple[Float[Array, "b k"], Any]:
    """`forward_train` with the batch cut over the devices."""
    if layout.mesh.size == 1:
        return forward_train(model, variables, x, key, **options)
    inside, specs = _inside(model, layout.axes), _specs(layout, variables)

    def local(variables: Any, x: Array, key: Array) -> tuple[Array, Any]:
        return forward_train(inside, _vary(variables, specs), x, key, **options)

    run = jax.shard_map(
        local,
        mesh=layout.mesh,
        in_specs=(specs, P("data"), P()),
        out_specs=(P("data"), specs.get("batch_stats", {})),
    )
    return run(variables, x, key)


def sharded_gradients(
    layout: Layout,
    compute: Callable[..., Gradients],
    model: nn.Module,
    variables: Any,
    x: Array,
    labels: Int[Array, " b"],
    key: Key[Array, ""],
) -> Gradients:
    """The result of `compute` (forward_train, variables, x, labels, key) over all rows.

    `variables` may have the parameters of frozen layers separately, as "frozen".

    In mode dp each device computes the gradients of its rows, and all sums are exchanged at once;
    in other modes the network itself makes the exchanges.
    """
    if layout.mesh.size == 1:
        return compute(partial(forward_train, model), variables, x, labels, key)
    if layout.mode != "dp":
        on_all = partial(sharded_forward_train, layout, model)
        return compute(on_all, variables, x, labels, key)
    inside, specs = _inside(model, layout.axes), _specs(layout, variables)

    def local(variables: Any, x: Array, labels: Array, key: Array) -> Gradients:
        of_rows = partial(forward_train, inside)
        found = compute(of_rows, _vary(variables, specs), x, labels, key)
        of_params, seen = sum_at_once((found.of_params, found.seen), "data")
        return Gradients(of_params, seen, found.batch_stats)

    run = jax.shard_map(
        local,
        mesh=layout.mesh,
        in_specs=(specs, P("data"), P("data"), P()),
        out_specs=Gradients(P(), P(), specs.get("batch_stats", {})),
    )
    return run(variables, x, labels, key)


def sharded_dense(
    layout: Layout,
    model: nn.Module,
    params: Any,
    flat: Float[Array, "b n"],
    key: Key[Array, ""],
    position: Int[Array, " b"],
) -> Float[Array, "b k"]:
    """fc6 to fc8 as in training, on the rows at `position` in the batch."""
    inside = _inside(model, layout.axes._replace(turns=False))
    specs = _specs(layout, {"params": params})

    def local(params: Any, flat: Array, key: Array, position: Array) -> Array:
        variables = _vary({"params": params}, specs)
        rngs = {"dropout": key}
        out = inside.apply(variables, flat, part="dense", position=position, rngs=rngs)
        return cast(Array, out)

    run = jax.shard_map(
        local,
        mesh=layout.mesh,
        in_specs=(specs["params"], P("data"), P(), P()),
        out_specs=P("data"),
    )
    return run(params, flat, key, position)


def _specs(layout: Layout, variables: Any) -> Any:
    return {name: layout.specs(tree) for name, tree in variables.items()}


def _inside(model: nn.Module, axes: Axes) -> nn.Module:
    """The network as it is inside `shard_map`: AlexNet knows its axes, LeNet needs none."""
    return model.clone(axes=axes) if isinstance(model, AlexNet) else model


def sum_at_once(tree: Any, axis: str) -> Any:
    """The sum over a mesh axis of the devices' trees; a small tree takes a single exchange.

    An exchange costs much the same for one number and for many thousands, and XLA for CPUs makes
    one for each array. Large arrays are exchanged separately, which saves a copy.
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
    """Marks shared parameters as varying over devices, so that gradients are summed only once.

    Frozen ones have no gradients, but stand beside the others in operations.
    """

    def mark(leaf: Array, spec: P) -> Array:
        return leaf if "data" in spec else jax.lax.pcast(leaf, "data", to="varying")

    parameters = {name: tree for name, tree in variables.items() if name in ("params", "frozen")}
    return variables | {
        name: jax.tree.map(mark, tree, specs[name]) for name, tree in parameters.items()
    }
