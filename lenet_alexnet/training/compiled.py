"""A run's functions: jitted (a fresh state, many steps in one dispatch) and compiled ahead."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet.config.options import setting
from lenet_alexnet.data.preprocess.digits import Preprocess
from lenet_alexnet.losses import Loss
from lenet_alexnet.optimizers import Optimizer
from lenet_alexnet.runtime import heartbeat
from lenet_alexnet.training.batches import FromDisk, Resident, create_feed
from lenet_alexnet.training.evaluation import Evaluator
from lenet_alexnet.training.experiment import Experiment
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.observed import Observe
from lenet_alexnet.training.state import Noted, TrainState, init_state
from lenet_alexnet.training.step import TrainStep, Update, refresh_curvature
from lenet_alexnet.training.step_programs import StepPrograms
from lenet_alexnet.training.turn_update import TurnUpdate
from lenet_alexnet.training.update import BatchUpdate


class JittedRun:
    """The jitted functions that train a network on a layout; nothing is computed until a call.

    Attributes:
      state: the shapes, types and shardings of a train state.
      key: the shape and sharding of the key of all steps.
      steps: the jitted `step.resident_steps` or `streamed_steps`.
    """

    def __init__(
        self,
        config: Any,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        loss: Loss,
        preprocess: Preprocess,
        layout: Layout,
        blank: np.ndarray,
        run_steps: Callable[..., Any],
        observe: Observe | None = None,
    ) -> None:
        """`blank` is one image of the data's shape, to initialise with."""
        self._layout, average, tx = layout, config.train.average, optimizer.tx
        options = {"average": bool(average), "frozen": setting(config, "train.freeze")}

        def init(seed: jax.Array) -> Any:
            init_key, key = jax.random.split(jax.random.key(seed))
            image = jnp.asarray(blank)
            return init_state(model, tx, preprocess, init_key, image, **options), key

        abstract, key = jax.eval_shape(init, jnp.int32(0))
        shardings = layout.state(abstract, tx)
        self._init = jax.jit(init, out_shardings=(shardings, layout.replicated))
        self.state = jax.tree.map(_placed, abstract, shardings)
        self.key = _placed(key, layout.replicated)
        train_step = TrainStep(
            update=_update(config, model, optimizer, loss, layout),
            preprocess=preprocess,
            variants=config.data.variants,
            average=average,
            observe=observe,
        )
        self.steps = jax.jit(
            partial(run_steps, train_step),
            donate_argnums=0,
            out_shardings=(shardings, layout.replicated),
        )

    def initialise(self, seed: int) -> tuple[Any, jax.Array]:
        """A fresh state, of which each device makes its part, and the key of all steps."""
        return self._init(self._layout.put(np.int32(seed)))


def _update(
    config: Any, model: nn.Module, optimizer: Optimizer, loss: Loss, layout: Layout
) -> Update:
    tx, dense_tx = optimizer.tx, optimizer.dense_tx
    if dense_tx is not None:
        return TurnUpdate(model=model, tx=tx, dense_tx=dense_tx, loss=loss, layout=layout)
    accumulate = config.train.accumulate
    return BatchUpdate(model=model, tx=tx, loss=loss, accumulate=accumulate, layout=layout)


def _placed(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledRun:
    """All functions of a run, compiled ahead, so that nothing compiles later.

    Attributes:
      feed: the data of a dispatch.
      key: of all steps.
      steps: the programs of a dispatch.
      refresh: (state, images, index, key) -> state with a new curvature; None without one.
      observe: (optimizer state, validation error) -> optimizer state; None without a plateau.
      evaluators: one for each split that is evaluated.
      seconds: how long compiling took.
    """

    experiment: Experiment
    feed: Resident | FromDisk
    key: jax.Array
    steps: StepPrograms
    refresh: Callable[..., Any] | None
    observe: Callable[..., Any] | None
    evaluators: dict[str, Evaluator]
    seconds: float

    def prepare(
        self, state: TrainState, step: int, count: int, running: Any = None
    ) -> Callable[[], tuple[TrainState, Noted]]:
        """Starts, when it is called, `count` steps from `step` on; their data are read now.

        `running` is a result that may not be ready yet.
        """
        full = self.steps.is_full(count)
        arguments = _arguments(self.experiment, self.feed, step, count, running, full=full)
        return partial(self.steps.program(full), state, *arguments, self.key)

    @property
    def images(self) -> jax.Array:
        """The resident training images."""
        return self.feed(0, 0)[0]


def _arguments(
    e: Experiment,
    feed: Resident | FromDisk,
    step: int,
    count: int,
    running: Any = None,
    *,
    full: bool = False,
) -> tuple[Any, ...]:
    """The arguments of one dispatch: data, order, count, whether the sums start at zero."""
    number = None if full else np.int32(count)
    fresh = np.bool_(step % e.schedule.log == 0)
    return (*feed(step, count, running), *e.layout.put((number, fresh)))


@heartbeat.during("compilation")
def compile_run(config: Any, e: Experiment) -> tuple[CompiledRun, TrainState]:
    """Compiles all functions of a run; returns them and a fresh state."""
    start = time.monotonic()
    feed = create_feed(e.train_data, e.order, e.schedule, e.layout)
    jitted = JittedRun(
        config,
        model=e.model,
        optimizer=e.optimizer,
        loss=e.train_loss,
        preprocess=e.preprocess,
        layout=e.layout,
        blank=e.blank,
        run_steps=feed.run_steps,
        observe=e.observe,
    )
    state, key = jitted.initialise(config.seed)

    def lower_steps(full: bool) -> Any:
        return jitted.steps.lower(jitted.state, *_arguments(e, feed, 0, 0, full=full), key)

    compiled = CompiledRun(
        experiment=e,
        feed=feed,
        key=key,
        steps=StepPrograms(lower_steps, e.schedule),
        refresh=_compile_refresh(config, e, feed, state, key),
        evaluators={
            name: Evaluator(
                e.scores, e.eval_loss, data, config.eval.batch_size, state.variables, e.layout
            )
            for name, data in e.eval_data.items()
        },
        observe=_compile_observe(e, state),
        seconds=time.monotonic() - start,
    )
    return compiled, state


@heartbeat.during("compilation")
def _compile_refresh(
    config: Any, e: Experiment, feed: Resident | FromDisk, state: TrainState, key: jax.Array
) -> Callable[..., Any] | None:
    if not e.optimizer.curvature:
        return None
    refresh = partial(refresh_curvature, e.model, e.preprocess, variants=config.data.variants)
    index = e.layout.put(e.curvature_index(0))
    return jax.jit(refresh, donate_argnums=0).lower(state, feed(0, 0)[0], index, key).compile()


@heartbeat.during("compilation")
def _compile_observe(e: Experiment, state: TrainState) -> Callable[..., Any] | None:
    if not e.optimizer.observe:
        return None
    observe = jax.jit(e.optimizer.observe, donate_argnums=0)
    return observe.lower(state.opt_state, e.layout.put(np.float32(0))).compile()
