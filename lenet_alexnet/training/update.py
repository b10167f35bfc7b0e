"""How a batch updates the parameters: at once, or in parts to save memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from lenet_alexnet.losses import Loss
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.sharded_forward import ForwardTrain, Gradients, sharded_gradients
from lenet_alexnet.training.state import Seen, TrainState
from lenet_alexnet.training.step import Moved


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchUpdate:
    """One step of the optimizer on the gradient of the batch's mean loss.

    Attributes:
      model, tx, loss: of the run.
      accumulate: parts that a batch is cut into, one after another, to save memory.
      layout: of the devices that share the batch.
    """

    model: nn.Module
    tx: optax.GradientTransformation
    loss: Loss
    accumulate: int = 1
    layout: Layout = field(default_factory=lambda: Layout(devices=1))

    def __call__(self, state: TrainState, x: Array, labels: Array, key: Array) -> Moved:
        """The parameters after the batch of inputs `x`; `key` is that of dropout."""
        mean_weight = self.loss.mean_weight(labels)  # Of the whole batch, before it is cut.
        gradients = partial(self._gradients, len(x), mean_weight)
        variables = {"params": state.trained, "frozen": state.kept}
        if state.batch_stats:
            variables["batch_stats"] = state.batch_stats
        found = sharded_gradients(self.layout, gradients, self.model, variables, x, labels, key)
        updates, opt_state = self.tx.update(found.of_params, state.opt_state, state.trained)
        params = state.kept | optax.apply_updates(state.trained, updates)
        return Moved(params, opt_state, found.batch_stats, found.seen, found.of_params)

    def _gradients(
        self,
        batch_size: int,
        mean_weight: Any,
        forward_train: ForwardTrain,
        variables: Any,
        x: Array,
        labels: Array,
        key: Array,
    ) -> Gradients:
        """The gradients of the rows `x`, which may be one device's part of the batch."""
        learned = {name: tree for name, tree in variables.items() if name != "frozen"}
        frozen = variables["frozen"]
        total = partial(_total, forward_train, self.loss, batch_size, mean_weight, frozen)
        return _in_parts(total, self.accumulate, learned, x, labels, key)


def _total(
    forward_train: ForwardTrain,
    loss: Loss,
    batch_size: int,
    mean_weight: Any,
    frozen: Any,
    params: Any,
    rest: Any,
    x: Array,
    labels: Array,
    key: Array,
) -> tuple[Array, tuple[Seen, Any]]:
    """The sum of the losses divided by `batch_size`: rows may be a part of a batch.

    `mean_weight` is that of the whole batch; the `frozen` layers are not among the `params`.
    """
    logits, batch_stats = forward_train({"params": frozen | params, **rest}, x, key)
    losses = loss(logits, labels, mean_weight)
    return losses.sum() / batch_size, (Seen.of(losses, logits, labels), batch_stats)


def _in_parts(
    total: Callable[..., Any], count: int, variables: Any, x: Array, labels: Array, key: Array
) -> Gradients:
    """Gradients from `count` parts in turn; part j has the rows j, j + count, j + 2 count ..."""
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
    """Row j has the rows j, j + count ... of x: a sharded batch holds such parts locally."""
    return x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)
