"""The pure part of training: one step, many steps in one program, exact evaluation.

No files, no config: what it does is a function of its arguments alone.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from lenet_alexnet.data.preprocess.digits import Preprocess
from lenet_alexnet.losses import Loss
from lenet_alexnet.models.lenet_1998.network import Network1998
from lenet_alexnet.optimizers.sdlm import curvature, set_curvature
from lenet_alexnet.training.state import Metrics, Seen, TrainState


def forward(model: nn.Module, variables: Any, x: Array) -> Float[Array, "b k"]:
    """The network's outputs, as in testing."""
    return cast(Array, model.apply(variables, x))


def forward_train(
    model: nn.Module, variables: Any, x: Array, key: Key[Array, ""], **options: Any
) -> tuple[Float[Array, "b k"], Any]:
    """Outputs as in training (a "dropout" stream says so), and new batch statistics.

    `options` are those of the network, as AlexNet's `part`.
    """
    out, changed = model.apply(
        variables, x, rngs={"dropout": key}, mutable=["batch_stats"], **options
    )
    return out, changed.get("batch_stats", {})


def draw(
    preprocess: Preprocess,
    batch: UInt8[Array, "b h w c"],
    index: Int[Array, " b"],
    key: Key[Array, ""],
    *,
    step: Int[Array, ""] | None = None,
    size: int = 0,
) -> Float[Array, "b h2 w2 c"]:
    """The network's inputs for the images `batch`, distorted as `key` says.

    By default each is distorted, by its number `index`, and a key for each step distorts it anew
    each time. With `size` (and one key for the run) the training set is fixed: index i is variant
    i // size of image i % size, and variant 0 is the image itself (LeCun et al. 1998, sec. III.A).
    """
    distorted = preprocess(batch, jax.vmap(jax.random.fold_in, (None, 0))(key, index), step)
    if not size:
        return distorted
    original = (index < size)[:, None, None, None]
    return jnp.where(original, preprocess(batch, None), distorted)


class Moved(NamedTuple):
    """Parameters after a batch, and what was seen on the way."""

    params: Any
    opt_state: Any
    batch_stats: Any
    seen: Seen


Update = Callable[[TrainState, Array, Array, Array], Moved]  # of state, inputs, labels, dropout key
TrainStep = Callable[..., TrainState]


def make_train_step(
    update: Update, preprocess: Preprocess, *, variants: int = 1, average: float = 0.0
) -> TrainStep:
    """One step: (state, images as bytes, labels, index, key) -> state.

    The batch is the images `index` modulo their number; where the images are a batch already,
    `index` gives their numbers in the training set, and `resident` is False.

    Args:
      update: how a batch moves the parameters, see `update.py`.
      preprocess: makes the network's inputs.
      variants: more than 1 for a fixed set of distortions, see `draw`.
      average: the decay of the moving average of the parameters, 0 < decay < 1, if the state has
        one.
    """

    def train_step(
        state: TrainState,
        images: UInt8[Array, "n h w c"],
        labels: Int[Array, " n"],
        index: Int[Array, " b"],
        key: Key[Array, ""],
        resident: bool = True,
    ) -> TrainState:
        distort_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step))
        size = len(labels) if variants > 1 else 0
        if resident:
            images, labels = images[index % len(labels)], labels[index % len(labels)]
        x = draw(
            preprocess, images, index, key if size else distort_key, step=state.step, size=size
        )
        new = update(state, x, labels, dropout_key)
        return TrainState(
            step=state.step + 1,
            params=new.params,
            batch_stats=new.batch_stats,
            average=_move(state.average, new.params, average, state.step + 1),
            opt_state=new.opt_state,
            # A sum is finite if all of it is.
            metrics=state.metrics.add(new.seen).check(jnp.isfinite(new.seen.loss), state.step + 1),
        )

    return train_step


def _move(old: Any, params: Any, decay: float, step: Int[Array, ""]) -> Any:
    """A moving average of the parameters, if there is one, after `step` steps.

    Without bias: the sum of decay^(step - t) p_t over that of decay^(step - t), t = 1 .. step, in
    which the initial parameters have no weight (Kingma and Ba 2015, sec. 3; `optax.ema`).
    """
    if old is None:
        return None
    log = math.log(decay)
    new = jnp.expm1(log) / jnp.expm1(step * log)  # (1 - decay) / (1 - decay^step); at first 1
    return jax.tree.map(lambda a, p: (1 - new) * a + new * p, old, params)


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
        def one(state: TrainState, i: Array) -> TrainState:
            return train_step(state, images, labels, order[i], key)

        return _loop(one, state, count, fresh)

    return train_steps


def make_stream_steps(train_step: TrainStep) -> Callable[..., tuple[TrainState, Metrics]]:
    """As `make_train_steps`, for batches that came from elsewhere: images [K, batch, ...]."""

    def train_steps(
        state: TrainState,
        images: UInt8[Array, "k b h w c"],
        labels: Int[Array, "k b"],
        order: Int[Array, "k b"],
        count: Int[Array, ""],
        fresh: Bool[Array, ""],
        key: Key[Array, ""],
    ) -> tuple[TrainState, Metrics]:
        def one(state: TrainState, i: Array) -> TrainState:
            return train_step(state, images[i], labels[i], order[i], key, resident=False)

        return _loop(one, state, count, fresh)

    return train_steps


def _loop(
    one: Callable[[TrainState, Array], TrainState], state: TrainState, count: Array, fresh: Array
) -> tuple[TrainState, Metrics]:
    zero = Metrics.zero()
    metrics = jax.tree.map(lambda z, m: jnp.where(fresh, z, m), zero, state.metrics)
    state = state.replace(metrics=metrics)
    state = jax.lax.fori_loop(0, count, lambda i, state: one(state, i), state)
    # Once a dispatch, as it costs as much as a step of batch size 1: an infinite gradient is
    # seen in the next step's loss, but for that of the last step.
    finite = jnp.all(jnp.stack([jnp.isfinite(p).all() for p in jax.tree.leaves(state.params)]))
    state = state.replace(metrics=state.metrics.check(finite, state.step))
    return state, jax.tree.map(jnp.copy, state.metrics)


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
        size = len(images) if variants > 1 else 0
        x = draw(preprocess, images[index % len(images)], index, key, size=size)
        h = curvature(cast(Network1998, model), state.params, x)
        return state.replace(opt_state=set_curvature(state.opt_state, h))

    return refresh


Scores = Callable[[Any, UInt8[Array, "b h w c"]], Float[Array, "b k"]]


def make_scores(
    model: nn.Module,
    preprocess: Preprocess,
    views: Callable[[Array], Array] | None = None,
    forward: Callable[..., Array] = forward,
) -> Scores:
    """(variables, images as bytes) -> the network's outputs, as in testing, computed in float32.

    In bfloat16, whatever training used, classes would tie by rounding, and the order of sums, which
    hangs on the batch size, would decide between near ones.
    With `views`, which makes several inputs [v, b, ...] of each image, the logarithm of the mean of
    their softmaxes (Krizhevsky et al. 2012, sec. 4.1).
    """
    model = model.clone(dtype=jnp.float32)

    def scores(variables: Any, images: Array) -> Array:
        if views is None:
            return forward(model, variables, preprocess(images, None))
        return log_mean(jax.lax.map(partial(forward, model, variables), views(images)))

    return scores


def mean_scores(each: Sequence[Scores]) -> Scores:
    """The logarithm of the mean of several networks' softmaxes; takes their variables in a list."""

    def scores(variables: Any, images: Array) -> Array:
        return log_mean(jnp.stack([f(v, images) for f, v in zip(each, variables, strict=True)]))

    return scores


def log_mean(logits: Float[Array, "v b k"]) -> Float[Array, "b k"]:
    """The logarithm of the mean of the softmaxes."""
    return jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0) - jnp.log(len(logits))


def make_evaluate(scores: Scores, loss: Loss, batch_size: int) -> Callable[..., Metrics]:
    """Exact evaluation: every example once, at any batch size.

    The result takes (metrics so far, variables, images, labels, count) and adds the first `count`
    images; the last batch repeats an example, masked out.
    """

    def evaluate(
        metrics: Metrics,
        variables: Any,
        images: UInt8[Array, "n h w c"],
        labels: Int[Array, " n"],
        count: Int[Array, ""],
    ) -> Metrics:
        def body(i: Array, metrics: Metrics) -> Metrics:
            index = i * batch_size + jnp.arange(batch_size)
            batch = jnp.minimum(index, count - 1)
            outputs, classes = scores(variables, images[batch]), labels[batch]
            return metrics.add(Seen.of(loss(outputs, classes), outputs, classes, index < count))

        return jax.lax.fori_loop(0, -(-count // batch_size), body, metrics)

    return evaluate
