"""The pure part of training: state, one step, many steps in one program, exact evaluation.

No files, no config: what it does is a function of its arguments alone.
"""

from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from lenet_alexnet.data.augment import Preprocess
from lenet_alexnet.losses import Loss
from lenet_alexnet.models.lenet_1998 import Network1998
from lenet_alexnet.optimizers.sdlm import curvature, set_curvature

NEVER = jnp.iinfo(jnp.int32).max


class Metrics(flax.struct.PyTreeNode):
    """Sums over the examples seen since the last line of the log."""

    loss: Float[Array, ""]
    errors: Int[Array, ""]
    top5_errors: Int[Array, ""]
    examples: Int[Array, ""]
    first_bad_step: Int[
        Array, ""
    ]  # The first step whose loss or parameters were not finite, or NEVER.

    @classmethod
    def zero(cls) -> "Metrics":
        """Nothing seen yet."""
        count = jnp.zeros((), jnp.int32)
        return cls(jnp.zeros(()), count, count, count, jnp.full((), NEVER, jnp.int32))

    def add(self, losses: Array, logits: Array, labels: Array, mask: Array) -> "Metrics":
        """With a batch added, of which `mask` says which rows are examples."""
        rank = jnp.sum(logits > jnp.take_along_axis(logits, labels[:, None], axis=-1), axis=-1)
        # NaN compares as false everywhere: a broken output must not count as a hit.
        rank = jnp.where(jnp.isfinite(logits).all(-1), rank, logits.shape[-1])
        return self.replace(
            loss=self.loss + jnp.sum(losses, where=mask),
            errors=self.errors + jnp.sum((rank >= 1) & mask, dtype=jnp.int32),
            top5_errors=self.top5_errors + jnp.sum((rank >= 5) & mask, dtype=jnp.int32),
            examples=self.examples + jnp.sum(mask, dtype=jnp.int32),
        )

    def check(self, finite: Array, step: Array) -> "Metrics":
        """With `step` noted if something in it was not finite, and none was before."""
        bad = jnp.where(finite, NEVER, step)
        return self.replace(first_bad_step=jnp.minimum(self.first_bad_step, bad))


class TrainState(flax.struct.PyTreeNode):
    """Everything that a step reads and changes; `step` counts the completed ones."""

    step: Int[Array, ""]
    params: Any
    opt_state: optax.OptState
    metrics: Metrics


def init_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    preprocess: Preprocess,
    key: Key[Array, ""],
    images: UInt8[Array, "1 h w c"],
) -> TrainState:
    """A fresh state; of the images only the shape counts."""
    params = model.init(key, preprocess(images, None))["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), Metrics.zero())


def forward(model: nn.Module, params: Any, x: Array, **streams: Array) -> Float[Array, "b k"]:
    """The network's outputs; `streams` are its random streams by name."""
    out = model.apply({"params": params}, x, rngs=streams or None)
    return cast(Array, out)


def draw(
    preprocess: Preprocess,
    images: UInt8[Array, "n h w c"],
    index: Int[Array, " b"],
    key: Key[Array, ""],
    variants: int = 1,
) -> Float[Array, "b h2 w2 c"]:
    """The network's inputs for the examples `index`, distorted as `key` says.

    With one variant every image is distorted; a key for each step distorts it anew each time. With
    more (and one key for the run) the training set is `variants` times as large and fixed: index i
    of n images is variant i // n of image i % n, and variant 0 is the image itself (LeCun et al.
    1998, sec. III.A).
    """
    batch = images[index % len(images)]
    distorted = preprocess(batch, jax.vmap(jax.random.fold_in, (None, 0))(key, index))
    if variants == 1:
        return distorted
    original = (index < len(images))[:, None, None, None]
    return jnp.where(original, preprocess(batch, None), distorted)


TrainStep = Callable[[TrainState, Array, Array, Array, Array], TrainState]


def make_train_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    loss: Loss,
    preprocess: Preprocess,
    *,
    variants: int = 1,
) -> TrainStep:
    """One step: (state, images as bytes, labels, index, key) -> state; `variants` as in `draw`."""

    def train_step(
        state: TrainState,
        images: UInt8[Array, "n h w c"],
        labels: Int[Array, " n"],
        index: Int[Array, " b"],
        key: Key[Array, ""],
    ) -> TrainState:
        distort_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step))
        target = labels[index % len(labels)]
        x = draw(preprocess, images, index, key if variants > 1 else distort_key, variants)

        def mean_loss(params: Any) -> tuple[Array, tuple[Array, Array]]:
            logits = forward(model, params, x, dropout=dropout_key)
            losses = loss(logits, target)
            return losses.mean(), (losses, logits)

        gradients, (losses, logits) = jax.grad(mean_loss, has_aux=True)(state.params)
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        metrics = state.metrics.add(losses, logits, target, jnp.ones(len(index), bool))
        return TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
            metrics=metrics.check(jnp.isfinite(losses).all(), state.step + 1),
        )

    return train_step


def make_train_steps(train_step: TrainStep) -> Callable[..., tuple[TrainState, Metrics]]:
    """Many steps over resident data in one program.

    The result takes (state, images, labels, order [K, batch], count <= K, fresh, key): it runs the
    first `count` rows of `order` and returns the state and a copy of its metrics, which `fresh`
    has set to zero before. One compilation serves every count, so that a run gives the same bits
    however it is cut into dispatches.
    """

    def train_steps(
        state: TrainState,
        images: UInt8[Array, "n h w c"],
        labels: Int[Array, " n"],
        order: Int[Array, "k b"],
        count: Int[Array, ""],
        fresh: Bool[Array, ""],
        key: Key[Array, ""],
    ) -> tuple[TrainState, Metrics]:
        zero = Metrics.zero()
        metrics = jax.tree.map(lambda z, m: jnp.where(fresh, z, m), zero, state.metrics)

        def body(i: Array, state: TrainState) -> TrainState:
            return train_step(state, images, labels, order[i], key)

        state = jax.lax.fori_loop(0, count, body, state.replace(metrics=metrics))
        # Once a dispatch, as it costs as much as a step of batch size 1: an infinite gradient is
        # seen in the next step's loss, but for that of the last step.
        finite = jnp.all(jnp.stack([jnp.isfinite(p).all() for p in jax.tree.leaves(state.params)]))
        state = state.replace(metrics=state.metrics.check(finite, state.step))
        return state, jax.tree.map(jnp.copy, state.metrics)

    return train_steps


def make_refresh(
    model: nn.Module, preprocess: Preprocess, *, variants: int = 1
) -> Callable[..., TrainState]:
    """Estimates the curvature of a 1998 network anew: (state, images, index, key) -> state."""

    def refresh(
        state: TrainState,
        images: UInt8[Array, "n h w c"],
        index: Int[Array, " p"],
        key: Key[Array, ""],
    ) -> TrainState:
        x = draw(preprocess, images, index, key, variants)
        h = curvature(cast(Network1998, model), state.params, x)
        return state.replace(opt_state=set_curvature(state.opt_state, h))

    return refresh


def make_evaluate(
    model: nn.Module, loss: Loss, preprocess: Preprocess, batch_size: int
) -> Callable[..., Metrics]:
    """Exact evaluation of resident data: every example once, at any batch size.

    The result takes (params, images, labels); the last batch repeats an example, masked out.
    """

    def evaluate(params: Any, images: UInt8[Array, "n h w c"], labels: Int[Array, " n"]) -> Metrics:
        total = len(labels)

        def body(i: Array, metrics: Metrics) -> Metrics:
            index = i * batch_size + jnp.arange(batch_size)
            batch = jnp.minimum(index, total - 1)
            logits = forward(model, params, preprocess(images[batch], None))
            return metrics.add(loss(logits, labels[batch]), logits, labels[batch], index < total)

        return jax.lax.fori_loop(0, -(-total // batch_size), body, Metrics.zero())

    return evaluate
