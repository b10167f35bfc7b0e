"""The pure part of training: one step, and many steps in one program.

No files and no config: the results depend only on the arguments.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from lenet_alexnet.data.preprocess.digits import Preprocess
from lenet_alexnet.models.lenet_1998.network import Network1998
from lenet_alexnet.optimizers.sdlm import curvature, set_curvature
from lenet_alexnet.training.observed import Observe
from lenet_alexnet.training.state import Metrics, Noted, Seen, TrainState, without


def draw(
    preprocess: Preprocess,
    batch: UInt8[Array, "b h w c"],
    index: Int[Array, " b"],
    key: Key[Array, ""],
    *,
    step: Int[Array, ""] | None = None,
    size: int = 0,
) -> Float[Array, "b h2 w2 c"]:
    """The network's inputs for the images `batch`, distorted at random by `key`.

    By default each image is distorted by `key` and its `index`; a new key in each step gives new
    distortions. With `size` (and one key for the run) the training set is fixed: index i is variant
    i // size of image i % size, and variant 0 is the image itself (LeCun et al. 1998, sec. III.A).
    """
    distorted = preprocess(batch, jax.vmap(jax.random.fold_in, (None, 0))(key, index), step)
    if not size:
        return distorted
    original = (index < size)[:, None, None, None]
    return jnp.where(original, preprocess(batch, None), distorted)


class Moved(NamedTuple):
    """Parameters and optimizer state after a batch, the sums over it, and its gradient.

    `gradients` has the trained parameters; None if they have several in a step.
    """

    params: Any
    opt_state: Any
    batch_stats: Any
    seen: Seen
    gradients: Any = None


Update = Callable[[TrainState, Array, Array, Array], Moved]  # of state, inputs, labels, dropout key


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainStep:
    """One step: (state, images as bytes, labels, index, key) -> state.

    The batch is images[index % n]. With `resident` False the images are already a batch, and
    `index` gives their positions in the training set.

    Attributes:
      update: how a batch updates the parameters, see `update.py`.
      preprocess: makes the network's inputs.
      variants: more than 1 for a fixed set of distortions, see `draw`.
      average: the decay of the parameters' moving average, 0 < decay < 1, if the state has one.
      observe: what is noted at the steps of the log, if anything, see `observed.py`.
    """

    update: Update
    preprocess: Preprocess
    variants: int = 1
    average: float = 0.0
    observe: Observe | None = None

    def __call__(
        self,
        state: TrainState,
        images: UInt8[Array, "n h w c"],
        labels: Int[Array, " n"],
        index: Int[Array, " b"],
        key: Key[Array, ""],
        resident: bool = True,
    ) -> TrainState:
        """The state after one more step."""
        return self.advance(state, images, labels, index, key, resident)[0]

    def advance(
        self,
        state: TrainState,
        images: UInt8[Array, "n h w c"],
        labels: Int[Array, " n"],
        index: Int[Array, " b"],
        key: Key[Array, ""],
        resident: bool = True,
    ) -> tuple[TrainState, Any]:
        """The state after one more step, and the gradient of its batch."""
        distort_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step))
        size = len(labels) if self.variants > 1 else 0
        if resident:
            images, labels = images[index % len(labels)], labels[index % len(labels)]
        image_key = key if size else distort_key
        x = draw(self.preprocess, images, index, image_key, step=state.step, size=size)
        new = self.update(state, x, labels, dropout_key)
        after = TrainState(
            step=state.step + 1,
            params=new.params,
            batch_stats=new.batch_stats,
            average=move_average(state, new.params, self.average, state.step + 1),
            opt_state=new.opt_state,
            # A sum is finite only if all its terms are.
            metrics=state.metrics.add(new.seen).check(jnp.isfinite(new.seen.loss), state.step + 1),
            frozen=state.frozen,
        )
        return after, new.gradients


def move_average(state: TrainState, params: Any, decay: float, step: Int[Array, ""]) -> Any:
    """A moving average of the parameters, if the state has one, after `step` steps.

    Frozen layers keep theirs. Without bias: the sum of decay^(step - t) p_t over that of
    decay^(step - t), t = 1 .. step; the initial parameters have no weight (Kingma and Ba 2015,
    sec. 3; `optax.ema`).
    """
    if state.average is None:
        return None
    log = math.log(decay)
    new = jnp.expm1(log) / jnp.expm1(step * log)  # (1 - decay) / (1 - decay^step); at first 1
    old, params = (without(tree, state.frozen) for tree in (state.average, params))
    return state.average | jax.tree.map(lambda a, p: (1 - new) * a + new * p, old, params)


def resident_steps(
    train_step: TrainStep,
    state: TrainState,
    images: UInt8[Array, "n h w c"],
    labels: Int[Array, " n"],
    order: Int[Array, "k b"],
    count: Int[Array, ""] | None,
    fresh: Bool[Array, ""],
    key: Key[Array, ""],
) -> tuple[TrainState, Noted]:
    """Many steps over resident data in one program: one for each of `count` rows of `order`.

    Returns the state and a copy of its metrics; if `fresh`, these start at zero. One compilation
    serves every count, so a run gives the same bits with any cut into dispatches. Without a count,
    there is one step for every row: XLA then knows the number, and a GPU needs not ask the host
    after each step whether another follows.
    """

    def one(i: Array, state: TrainState) -> tuple[TrainState, Any]:
        return train_step.advance(state, images, labels, order[i], key)

    number = len(order) if count is None else count
    return _repeat(one, state, number, fresh, train_step.observe)


def streamed_steps(
    train_step: TrainStep,
    state: TrainState,
    images: UInt8[Array, "k b h w c"],
    labels: Int[Array, "k b"],
    order: Int[Array, "k b"],
    count: Int[Array, ""] | None,
    fresh: Bool[Array, ""],
    key: Key[Array, ""],
) -> tuple[TrainState, Noted]:
    """As `resident_steps`, for batches that were read from disk."""

    def one(i: Array, state: TrainState) -> tuple[TrainState, Any]:
        return train_step.advance(state, images[i], labels[i], order[i], key, resident=False)

    number = len(order) if count is None else count
    return _repeat(one, state, number, fresh, train_step.observe)


One = Callable[[Array, TrainState], tuple[TrainState, Any]]  # (i, state) -> state and gradient


def _repeat(
    one: One, state: TrainState, count: Array | int, fresh: Array, observe: Observe | None
) -> tuple[TrainState, Noted]:
    """`count` times `one`."""
    zero = Metrics.zero()
    metrics = jax.tree.map(lambda z, m: jnp.where(fresh, z, m), zero, state.metrics)
    state, layers = state.replace(metrics=metrics), None
    if observe is None:
        state = jax.lax.fori_loop(0, count, lambda i, state: one(i, state)[0], state)
    else:
        state, layers = _observed_loop(one, state, count, observe)
    # Once per dispatch, as it costs as much as a step of batch size 1. The next step's loss shows
    # an infinite gradient, except for the last step.
    finite = jnp.all(jnp.stack([jnp.isfinite(p).all() for p in jax.tree.leaves(state.params)]))
    state = state.replace(metrics=state.metrics.check(finite, state.step))
    return state, Noted(**vars(jax.tree.map(jnp.copy, state.metrics)), layers=layers)


def _observed_loop(
    one: One, state: TrainState, count: Array | int, observe: Observe
) -> tuple[TrainState, Any]:
    """`count` times `one`; and what `observe` found at the last step that is due."""

    def body(i: Array, carry: tuple[TrainState, Any]) -> tuple[TrainState, Any]:
        before, found = carry
        after, gradients = one(i, before)
        found = jax.lax.cond(
            observe.due(after.step), lambda: observe(before, after, gradients), lambda: found
        )
        return after, found

    shapes = jax.eval_shape(lambda: observe(state, *one(jnp.int32(0), state)))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.fori_loop(0, count, body, (state, zero))


def refresh_curvature(
    model: nn.Module,
    preprocess: Preprocess,
    state: TrainState,
    images: UInt8[Array, "n h w c"],
    index: Int[Array, " p"],
    key: Key[Array, ""],
    *,
    variants: int = 1,
) -> TrainState:
    """Estimates the curvature of a network of 1998 again, on the images `index`."""
    size = len(images) if variants > 1 else 0
    x = draw(preprocess, images[index % len(images)], index, key, size=size)
    h = without(curvature(cast(Network1998, model), state.params, x), state.frozen)
    return state.replace(opt_state=set_curvature(state.opt_state, h))
