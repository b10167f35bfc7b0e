"""AlexNet's dense layers updated in turns: one weird trick with small batches for fc6 to fc8."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from lenet_alexnet.losses import Loss
from lenet_alexnet.training.layout import HEAD, Layout
from lenet_alexnet.training.sharded_forward import sharded_dense, sharded_forward_train
from lenet_alexnet.training.state import Seen, TrainState, without
from lenet_alexnet.training.step import Moved


class _Rows(NamedTuple):
    """What the dense layers take in one turn: inputs, labels, and positions in the batch."""

    flat: Array
    labels: Array
    position: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class TurnUpdate:
    """Updates fc6 to fc8 after each turn, on its rows; the convolutions once, on the whole batch.

    So the dense layers train with the small batch of a turn, the convolutions with the whole one
    (Krizhevsky 2014; `updatePeriod=1` in cuda-convnet2). Counters of the optimizers (a schedule's
    steps, Adam's) advance once per step.

    Attributes:
      model: AlexNet.
      tx: of the convolutions.
      dense_tx: of the dense layers. Its state and rules are the same, except for a rate that
        depends on the batch size.
      loss: of each image.
      layout: mode owt, with turns.
    """

    model: nn.Module
    tx: optax.GradientTransformation
    dense_tx: optax.GradientTransformation
    loss: Loss
    layout: Layout

    def __call__(self, state: TrainState, x: Array, labels: Array, key: Array) -> Moved:
        """The parameters after the batch of inputs `x`; `key` is that of dropout."""
        count, shards = self.layout.dense_updates, self.layout.shards
        params, old = state.trained, state.opt_state
        below = without(params, HEAD)
        head = without(params, below)
        still = jax.tree.map(jnp.zeros_like, params)
        mean_weight = self.loss.mean_weight(labels)
        convolutions = partial(self._convolutions, state, x, key)
        flat, pull, batch_stats = jax.vjp(convolutions, below, has_aux=True)
        rows = [cut_turns(a, shards, count) for a in (flat, labels, jnp.arange(len(x)))]
        # Unrolled, so that the compiler sees what can run at the same time.
        (head, turned), (pulled, losses, logits) = jax.lax.scan(
            partial(self._turn, state, still, mean_weight, key),
            (head, old),
            _Rows(*rows),
            unroll=count,
        )
        (grads,) = pull(join_turns(pulled, shards))
        updates, moved = self.tx.update(still | grads, turned, params)
        below = optax.apply_updates(below, {name: updates[name] for name in below})
        losses, logits = join_turns(losses, shards), join_turns(logits, shards)
        seen = Seen.of(losses, logits, labels)
        return Moved(state.kept | below | head, _of_head(turned, moved), batch_stats, seen)

    def _convolutions(self, state: TrainState, x: Array, key: Array, below: Any) -> Any:
        """The inputs of fc6 [b, n], and new batch statistics; `below` are the trained layers."""
        variables = {"params": without(state.kept, HEAD) | below}
        if state.batch_stats:
            variables["batch_stats"] = state.batch_stats
        return sharded_forward_train(
            self.layout, self.model, variables, x, key, part="convolutions"
        )

    def _turn(
        self,
        state: TrainState,
        still: Any,
        mean_weight: Any,
        key: Array,
        carry: tuple[Any, Any],
        rows: _Rows,
    ) -> tuple[tuple[Any, Any], tuple[Array, Array, Array]]:
        """Updates the dense layers on one turn's rows.

        Returns (dense parameters, optimizer state) for the next turn, and (gradient for the
        convolutions, losses, outputs) of the rows.
        """
        head, opt_state = carry
        own = self.loss.mean_weight(rows.labels)
        frozen = without(state.kept, without(state.kept, HEAD))
        mean_loss = partial(self._mean_loss, rows, own, key, frozen)
        (grads, pulled), (losses, logits) = jax.grad(mean_loss, (0, 1), has_aux=True)(
            head, rows.flat
        )
        updates, moved = self.dense_tx.update(still | grads, opt_state, state.trained | head)
        head = optax.apply_updates(head, {name: updates[name] for name in head})
        # The convolutions are updated by the weighted mean over the batch.
        part = own / mean_weight
        pulled, losses = pulled * part / self.layout.dense_updates, losses * part
        return (head, _of_head(moved, opt_state)), (pulled, losses, logits)

    def _mean_loss(
        self, rows: _Rows, mean_weight: Any, key: Array, frozen: Any, head: Any, flat: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        """The mean loss over a turn's rows, and each row's loss and outputs.

        `head` and `frozen` are the dense layers that are trained and those that are not.
        """
        dense = frozen | head
        logits = sharded_dense(self.layout, self.model, dense, flat, key, rows.position)
        losses = self.loss(logits, rows.labels, mean_weight)
        return losses.mean(), (losses, logits)


def cut_turns(x: Array, shards: int, count: int) -> Array:
    """A batch [b, ...] as [turn, rows, ...]: turn t has the t-th part of every shard's rows."""
    parts = x.reshape(shards, count, -1, *x.shape[1:]).swapaxes(0, 1)
    return parts.reshape(count, -1, *x.shape[1:])


def join_turns(x: Array, shards: int) -> Array:
    """[turn, rows, ...] as the batch [b, ...] again."""
    parts = x.reshape(len(x), shards, -1, *x.shape[2:]).swapaxes(0, 1)
    return parts.reshape(-1, *x.shape[2:])


def _of_head(its: Any, others: Any) -> Any:
    """An optimizer's state: of the dense layers from `its`, the rest from `others`."""

    def choose(path: tuple[Any, ...], a: Any, b: Any) -> Any:
        return a if any(getattr(key, "key", None) in HEAD for key in path) else b

    return jax.tree_util.tree_map_with_path(choose, its, others)
