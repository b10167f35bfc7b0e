"""The program of a config's training steps, lowered from shapes alone: no data, no values."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet.config.durations import to_steps
from lenet_alexnet.data.preprocess.statistics import Statistics
from lenet_alexnet.training.builders import build_losses, build_optimizer, build_preprocess
from lenet_alexnet.training.compiled import JittedRun
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.step import streamed_steps

EXAMPLES = 1_281_167  # ImageNet's training images: only schedules depend on it, no sizes.


def jit(config: Any, model: nn.Module, layout: Layout) -> JittedRun:
    """The functions of a config's run on a layout, for batches that are read from disk."""
    in_steps = partial(to_steps, batch_size=config.train.batch_size, examples=EXAMPLES)
    side, channels = config.data.image_size, config.data.channels
    blank = Statistics(1, np.zeros((side, side, 3), np.float32), np.zeros(3), np.ones(3), np.eye(3))
    return JittedRun(
        config,
        model=model,
        optimizer=build_optimizer(config, EXAMPLES, dense_updates=layout.dense_updates),
        loss=build_losses(config)[0],
        preprocess=build_preprocess(config, in_steps, blank),
        layout=layout,
        blank=np.zeros((1, side, side, channels), np.uint8),
        run_steps=streamed_steps,
    )


def lower(run: JittedRun, config: Any, layout: Layout, *, rows: int, full: bool = False) -> Any:
    """The program of a dispatch of up to `rows` steps (`full`: of exactly so many), lowered."""
    batch = (rows, config.train.batch_size)
    stored = (config.data.image_size, config.data.image_size, config.data.channels)

    def of_batch(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=layout.batches)

    def scalar(dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((), dtype, sharding=layout.replicated)

    return run.steps.lower(
        run.state,
        of_batch((*batch, *stored), jnp.uint8),
        of_batch(batch, jnp.int32),
        of_batch(batch, jnp.int32),
        None if full else scalar(jnp.int32),
        scalar(jnp.bool_),
        run.key,
    )


def peak_bytes(compiled: Any) -> int:
    """Bytes on each device that a compiled program needs: arguments, results, temporary ones."""
    memory = compiled.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
