"""The two compiled functions of a run: a fresh state, and many steps in one dispatch."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet.data.preprocess.digits import Preprocess
from lenet_alexnet.losses import Loss
from lenet_alexnet.optimizers import Optimizer
from lenet_alexnet.training import step as steps
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.state import init_state
from lenet_alexnet.training.update import make_turn_update, make_update


class Program:
    """How a network is trained on a layout of devices; nothing is computed until asked for.

    Attributes:
      state: the shapes, types and places of a train state.
      steps: the jitted function of `step.make_train_steps` or `make_stream_steps`.
    """

    def __init__(
        self, config: Any, *, model: nn.Module, optimizer: Optimizer, loss: Loss,
        preprocess: Preprocess, layout: Layout, blank: np.ndarray, make_steps: Callable[..., Any],
    ) -> None:  # fmt: skip
        """`blank` is one image of the data's shape, to initialise with."""
        self._layout, average, tx = layout, config.train.average, optimizer.tx

        def init(seed: jax.Array) -> Any:
            init_key, key = jax.random.split(jax.random.key(seed))
            image = jnp.asarray(blank)
            return init_state(model, tx, preprocess, init_key, image, average=bool(average)), key

        abstract, key = jax.eval_shape(init, jnp.int32(0))
        shardings = layout.state(abstract, tx)
        self._init = jax.jit(init, out_shardings=(shardings, layout.replicated))
        self.state = jax.tree.map(_placed, abstract, shardings)
        self.key = _placed(key, layout.replicated)
        if optimizer.dense_tx is not None:
            update = make_turn_update(model, tx, optimizer.dense_tx, loss, layout)
        else:
            update = make_update(model, tx, loss, accumulate=config.train.accumulate, layout=layout)
        train_step = steps.make_train_step(
            update, preprocess, variants=config.data.variants, average=average
        )
        self.steps = jax.jit(
            make_steps(train_step), donate_argnums=0, out_shardings=(shardings, layout.replicated)
        )

    def initialise(self, seed: int) -> tuple[Any, jax.Array]:
        """A fresh state, each device making its own part of it, and the key of all steps."""
        return self._init(self._layout.put(np.int32(seed)))


def _placed(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
