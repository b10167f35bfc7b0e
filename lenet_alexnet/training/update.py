"""How a batch moves the parameters: at once, in parts, or the dense layers in turns."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from lenet_alexnet.losses import Loss
from lenet_alexnet.training.layout import HEAD, ForwardTrain, Gradients, Layout
from lenet_alexnet.training.state import Seen, TrainState
from lenet_alexnet.training.step import Moved, Update


def make_update(
    model: nn.Module,
    tx: optax.GradientTransformation,
    loss: Loss,
    *,
    accumulate: int = 1,
    layout: Layout | None = None,
) -> Update:
    """One step of the optimizer on the gradient of the batch's mean loss.

    Args:
      model, tx, loss: what is trained, and how.
      accumulate: parts that a batch is cut into, one after another, to save memory.
      layout: of the devices that share the batch; None: there is one.
    """

    layout = layout or Layout(devices=1)

    def update(state: TrainState, x: Array, labels: Array, key: Array) -> Moved:
        mean_weight = loss.mean_weight(labels)  # Of the whole batch, before it is cut.

        def gradients(forward_train: ForwardTrain, variables: Any, *batch: Array) -> Gradients:
            total = partial(_total, forward_train, loss, len(x), mean_weight)
            return _in_parts(total, accumulate, variables, *batch)

        variables = {"params": state.params}
        if state.batch_stats:
            variables["batch_stats"] = state.batch_stats
        found = layout.gradients(gradients, model, variables, x, labels, key)
        updates, opt_state = tx.update(found.of_params, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return Moved(params, opt_state, found.batch_stats, found.seen)

    return update


def _total(
    forward_train: ForwardTrain, loss: Loss, batch_size: int, mean_weight: Any, params: Any,
    rest: Any, x: Array, labels: Array, key: Array,
) -> tuple[Array, tuple[Seen, Any]]:  # fmt: skip
    """The sum of the losses over `batch_size`: rows may be a part of a batch.

    `mean_weight` is that of the whole batch.
    """
    logits, batch_stats = forward_train({"params": params, **rest}, x, key)
    losses = loss(logits, labels, mean_weight)
    return losses.sum() / batch_size, (Seen.of(losses, logits, labels), batch_stats)


def _in_parts(
    total: Callable[..., Any], count: int, variables: Any, x: Array, labels: Array, key: Array
) -> Gradients:
    """From `count` parts of the rows, one after another: j, j + count, j + 2 count ..."""
    gradient = jax.grad(total, has_aux=True)
    params = variables["params"]
    rest = {name: tree for name, tree in variables.items() if name != "params"}
    if count == 1:
        grads, (seen, batch_stats) = gradient(params, rest, x, labels, key)
        return Gradients(grads, seen, batch_stats)

    def part(carry: tuple[Any, Any], j: Array) -> tuple[tuple[Any, Any], None]:
        sums, rest = carry
        rows = _every(x, count)[j], _every(labels, count)[j]
        grads, (seen, batch_stats) = gradient(params, rest, *rows, jax.random.fold_in(key, j))
        rest = {"batch_stats": batch_stats} if batch_stats else {}
        return (jax.tree.map(jnp.add, sums, (grads, seen)), rest), None

    none = jnp.zeros_like(labels[0])
    zero = jax.tree.map(jnp.zeros_like, params), Seen(none.astype(jnp.float32), none, none, none)
    (sums, rest), _ = jax.lax.scan(part, (zero, rest), jnp.arange(count))
    return Gradients(*sums, rest.get("batch_stats", {}))


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

        mean_weight = loss.mean_weight(labels)
        flat, pull, batch_stats = jax.vjp(convolutions, below, has_aux=True)
        rows = [cut_turns(a, layout.shards, count) for a in (flat, labels, jnp.arange(len(x)))]

        def turn(carry: tuple[Any, Any], of_turn: Any) -> tuple[tuple[Any, Any], tuple[Any, ...]]:
            head, opt_state = carry
            flat, labels, position = of_turn
            own = loss.mean_weight(labels)

            def mean_loss(head: Any, flat: Array) -> tuple[Array, tuple[Array, Array]]:
                logits = layout.dense(model, head, flat, key, position)
                losses = loss(logits, labels, own)
                return losses.mean(), (losses, logits)

            (grads, pulled), seen = jax.grad(mean_loss, (0, 1), has_aux=True)(head, flat)
            updates, moved = dense_tx.update(still | grads, opt_state, params | head)
            head = optax.apply_updates(head, {name: updates[name] for name in head})
            # The convolutions move on the weighted mean over the batch.
            part = own / mean_weight
            pulled, losses, logits = pulled * part / count, seen[0] * part, seen[1]
            return (head, _of_head(moved, opt_state)), (pulled, losses, logits)

        # Unrolled, so that the compiler sees what can go on at the same time.
        (head, turned), (pulled, losses, logits) = jax.lax.scan(
            turn, (head, old), tuple(rows), unroll=count
        )
        (grads,) = pull(join_turns(pulled, layout.shards))
        updates, moved = tx.update(still | grads, turned, params)
        below = optax.apply_updates(below, {name: updates[name] for name in below})
        losses, logits = join_turns(losses, layout.shards), join_turns(logits, layout.shards)
        seen = Seen.of(losses, logits, labels)
        return Moved(below | head, _of_head(turned, moved), batch_stats, seen)

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
