"""Many LeNet-5 runs as one program, as in `sweep`, compared with one run."""

from typing import Any

import jax
import numpy as np

from lenet_alexnet import config as configs
from lenet_alexnet.bench.measure import Subject
from lenet_alexnet.bench.steps import Trainer, check_finite, lenet5_config
from lenet_alexnet.sweep.lane_functions import LaneDevices, LaneFunctions, stack_lanes
from lenet_alexnet.training.step_programs import is_full


def subjects(lanes: int, batch: int, precision: str) -> tuple[Trainer, list[Subject]]:
    """One run, and `lanes` runs with separate seeds; both with many steps per call."""
    trainer = Trainer(lenet5_config(batch, precision))
    return trainer, [trainer.many("1 run"), _lanes(trainer, lanes)]


def _lanes(trainer: Trainer, lanes: int) -> Subject:
    e, lane_configs = trainer.e, [configs.with_seed(trainer.config, seed) for seed in range(lanes)]
    devices = LaneDevices(lanes)
    functions = LaneFunctions(trainer.config, e, at_once=devices.at_once)
    numbers = devices.spread(stack_lanes(lane_configs))
    state: Any = devices.jit(functions.init)(numbers, devices.everywhere(e.blank))
    data = devices.everywhere(e.train_data.arrays)
    orders = [e.order.with_seed(seed) for seed in range(lanes)]
    train = devices.jit(functions.train, donate=True)
    rows, done = e.schedule.per_dispatch, 0

    def run(count: int) -> None:
        nonlocal state, done
        end = done + count
        while done < end:
            n = min(end - done, rows)
            order = np.zeros((lanes, rows, trainer.batch), np.int32)
            for lane, own in zip(order, orders, strict=True):
                lane[:n] = own.batches(done, n)
            number = None if is_full(n, rows) else np.int32(n)
            shared = (*data, *devices.everywhere((number, np.bool_(False))))
            state, _ = train(state, (numbers, devices.spread(order)), shared)
            done += n
        jax.block_until_ready(state)
        check_finite(state.metrics)

    return Subject(f"{lanes} runs", run, lanes * trainer.batch)
