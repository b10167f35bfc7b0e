"""How a batch moves the parameters: at once, in parts, or the dense layers in turns."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from lenet_alexnet import step as steps
from lenet_alexnet.losses import Loss
from lenet_alexnet.parallel import HEAD, Layout
from lenet_alexnet.state import TrainState
from lenet_alexnet.step import Moved, Update


def make_update(
    model: nn.Module,
    tx: optax.GradientTransformation,
    loss: Loss,
    *,
    accumulate: int = 1,
    forward_train: Callable[..., tuple[Array, Any]] = steps.forward_train,
) -> Update:
    """One step of the optimizer on the gradient of the batch's mean loss.

    Args:
      model, tx, loss: what is trained, and how.
      accumulate: parts that a batch is cut into, one after another, to save memory.
      forward_train: the network's outputs; `Layout` has them over many devices.
    """

    def gradients(state: TrainState, x: Array, target: Array, key: Array) -> tuple[Any, ...]:
        def mean_loss(params: Any) -> tuple[Array, tuple[Array, Array, Any]]:
            variables = {"params": params}
            if state.batch_stats:
                variables["batch_stats"] = state.batch_stats
            logits, batch_stats = forward_train(model, variables, x, key)
            losses = loss(logits, target)
            return losses.mean(), (losses, logits, batch_stats)

        return jax.grad(mean_loss, has_aux=True)(state.params)

    def update(state: TrainState, x: Array, labels: Array, key: Array) -> Moved:
        if accumulate == 1:
            grads, (losses, logits, batch_stats) = gradients(state, x, labels, key)
        else:
            grads, losses, logits, batch_stats = _in_parts(
                gradients, state, x, labels, key, accumulate
            )
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return Moved(params, opt_state, batch_stats, losses, logits)

    return update


def _in_parts(
    gradients: Callable[..., tuple[Any, ...]], state: TrainState, x: Array, labels: Array,
    key: Array, count: int,
) -> tuple[Any, Array, Array, Any]:  # fmt: skip
    """The mean gradient of a batch from `count` parts of it, rows j, j + count, j + 2 count ..."""

    def part(carry: tuple[Any, Any], j: Array) -> tuple[tuple[Any, Any], tuple[Array, Array]]:
        total, batch_stats = carry
        here = state.replace(batch_stats=batch_stats)
        found, (losses, logits, batch_stats) = gradients(
            here, _every(x, count)[j], _every(labels, count)[j], jax.random.fold_in(key, j)
        )
        return (jax.tree.map(jnp.add, total, found), batch_stats), (losses, logits)

    zero = jax.tree.map(jnp.zeros_like, state.params)
    (total, batch_stats), (losses, logits) = jax.lax.scan(
        part, (zero, state.batch_stats), jnp.arange(count)
    )
    mean = jax.tree.map(lambda g: g / count, total)
    together = logits.swapaxes(0, 1).reshape(len(x), -1)
    return mean, losses.T.reshape(-1), together, batch_stats


def _every(x: Array, count: int) -> Array:
    """Row j has rows j, j + count ... of x: parts that a sharded batch holds locally."""
    return x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)


def make_turn_update(
    model: nn.Module,
    tx: optax.GradientTransformation,
    dense_tx: optax.GradientTransformation,
    loss: Loss,
    layout: Layout,
) -> Update:
    """fc6 to fc8 move after each turn, on its rows alone; the convolutions once, on all of them.

    So the dense layers train at the batch of a turn, and only the convolutions at the large one
    (Krizhevsky 2014; `updatePeriod=1` in cuda-convnet2). Counters of the optimizers (a schedule's
    steps, Adam's) advance once a step.

    Args:
      model: AlexNet.
      tx: of the convolutions. dense_tx: of the dense layers; its state is the same, as are its
        rules, but for the rate where that depends on the batch.
      loss: of each image.
      layout: mode owt, with turns.
    """

    def update(state: TrainState, x: Array, labels: Array, key: Array) -> Moved:
        count = layout.turns
        params, old = state.params, state.opt_state
        head = {name: leaves for name, leaves in params.items() if name in HEAD}
        below = {name: leaves for name, leaves in params.items() if name not in HEAD}
        still = jax.tree.map(jnp.zeros_like, params)

        def convolutions(below: Any) -> tuple[Array, Any]:
            variables = {"params": below}
            if state.batch_stats:
                variables["batch_stats"] = state.batch_stats
            return layout.forward_train(model, variables, x, key, part="convolutions")

        flat, pull, batch_stats = jax.vjp(convolutions, below, has_aux=True)
        rows = [cut_turns(a, layout.shards, count) for a in (flat, labels, jnp.arange(len(x)))]

        def turn(carry: tuple[Any, Any], of_turn: Any) -> tuple[tuple[Any, Any], tuple[Any, ...]]:
            head, opt_state = carry
            flat, labels, position = of_turn

            def mean_loss(head: Any, flat: Array) -> tuple[Array, tuple[Array, Array]]:
                logits = layout.dense(model, head, flat, key, position)
                losses = loss(logits, labels)
                return losses.mean(), (losses, logits)

            (grads, pulled), seen = jax.grad(mean_loss, (0, 1), has_aux=True)(head, flat)
            updates, moved = dense_tx.update(still | grads, opt_state, params | head)
            head = optax.apply_updates(head, {name: updates[name] for name in head})
            return (head, _of_head(moved, opt_state)), (pulled / count, *seen)

        # Unrolled, so that the compiler sees what can go on at the same time.
        (head, turned), (pulled, losses, logits) = jax.lax.scan(
            turn, (head, old), tuple(rows), unroll=count
        )
        (grads,) = pull(join_turns(pulled, layout.shards))
        updates, moved = tx.update(still | grads, turned, params)
        below = optax.apply_updates(below, {name: updates[name] for name in below})
        losses, logits = join_turns(losses, layout.shards), join_turns(logits, layout.shards)
        return Moved(below | head, _of_head(turned, moved), batch_stats, losses, logits)

    return update


def cut_turns(x: Array, shards: int, count: int) -> Array:
    """A batch [b, ...] as [turn, rows, ...]: in turn t the t-th part of every shard's rows."""
    parts = x.reshape(shards, count, -1, *x.shape[1:]).swapaxes(0, 1)
    return parts.reshape(count, -1, *x.shape[1:])


def join_turns(x: Array, shards: int) -> Array:
    """[turn, rows, ...] as the batch [b, ...] again."""
    parts = x.reshape(len(x), shards, -1, *x.shape[2:]).swapaxes(0, 1)
    return parts.reshape(-1, *x.shape[2:])


def _of_head(its: Any, others: Any) -> Any:
    """An optimizer's state with what belongs to the dense layers from the first."""

    def choose(path: tuple[Any, ...], a: Any, b: Any) -> Any:
        return a if any(getattr(key, "key", None) in HEAD for key in path) else b

    return jax.tree_util.tree_map_with_path(choose, its, others)
