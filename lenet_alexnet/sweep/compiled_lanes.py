"""The functions of many runs side by side, compiled ahead, and the data that they read."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lenet_alexnet.data import Dataset
from lenet_alexnet.data.order import Order
from lenet_alexnet.sweep.lane_functions import LaneDevices, LaneFunctions, LaneNumbers, stack_lanes
from lenet_alexnet.training.experiment import Experiment
from lenet_alexnet.training.state import Metrics, Noted, TrainState
from lenet_alexnet.training.step_programs import StepPrograms


class CompiledLanes:
    """The compiled functions of all lanes, so that nothing compiles later.

    Args:
      e: of all lanes, apart from their orders and numbers.
      devices: on which the lanes are spread.
      numbers: of all lanes, on their devices.
      orders: of the examples, one for each lane.
      functions: of one lane.
      state: of all lanes, for its shapes.

    Attributes:
      steps: the programs of a dispatch.
    """

    def __init__(
        self,
        e: Experiment,
        devices: LaneDevices,
        numbers: LaneNumbers,
        orders: Sequence[Order],
        functions: LaneFunctions,
        state: TrainState,
    ) -> None:
        self._e, self._devices, self._numbers, self._orders = e, devices, numbers, orders
        self._data = devices.everywhere(arrays(e.train_data))
        self._eval_data = {
            name: devices.everywhere((*arrays(split), np.int32(len(split))))
            for name, split in e.eval_data.items()
        }
        train = devices.jit(functions.train, donate=True)
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
        )
        self.steps = StepPrograms(
            lambda full: train.lower(shapes, *self._arguments(0, 1, full=full)), e.schedule
        )
        if e.schedule.refresh:
            refresh = devices.jit(functions.refresh, donate=True)
            index = np.stack([e.curvature_index(0)] * len(orders))
            self._refresh = refresh.lower(state, *self._curvature_arguments(index)).compile()
        evaluate = devices.jit(functions.evaluate)
        self._evaluators: dict[str, Callable[..., Metrics]] = {
            name: evaluate.lower((state.variables, numbers), split).compile()
            for name, split in self._eval_data.items()
        }

    def train(self, state: TrainState, step: int, count: int) -> tuple[TrainState, Noted]:
        """Starts `count` steps of every lane from `step` on; the state and all lanes' sums."""
        full = self.steps.is_full(count)
        return self.steps.program(full)(state, *self._arguments(step, count, full=full))

    def _arguments(self, step: int, count: int, *, full: bool) -> tuple[Any, Any]:
        """The arguments of a dispatch besides the state: of each lane, and shared ones."""
        schedule, batch_size = self._e.schedule, self._e.order.batch_size
        order = np.zeros((len(self._orders), schedule.per_dispatch, batch_size), np.int32)
        for rows, own in zip(order, self._orders, strict=True):
            rows[:count] = own.batches(step, count)
        shared = (None if full else np.int32(count), np.bool_(step % schedule.log == 0))
        of_lanes = (self._numbers, self._devices.spread(order))
        return of_lanes, (*self._data, *self._devices.everywhere(shared))

    def refresh(self, state: TrainState, index: np.ndarray) -> TrainState:
        """A new curvature of every lane, estimated on its examples `index` [lane, example]."""
        return self._refresh(state, *self._curvature_arguments(index))

    def _curvature_arguments(self, index: np.ndarray) -> tuple[Any, Any]:
        return (self._numbers, self._devices.spread(index)), self._data[0]

    def evaluate(self, variables: Any, split: str) -> Metrics:
        """The sums of every lane over a split."""
        return self._evaluators[split]((variables, self._numbers), self._eval_data[split])


def compile_lanes(
    lane_configs: Sequence[Any], e: Experiment, devices: LaneDevices, orders: Sequence[Order]
) -> tuple[CompiledLanes, TrainState]:
    """Compiles the functions of all lanes; returns them and fresh states."""
    functions = LaneFunctions(lane_configs[0], e, at_once=devices.at_once)
    numbers = devices.spread(stack_lanes(lane_configs))
    state = devices.jit(functions.init)(numbers, devices.everywhere(e.blank))
    return CompiledLanes(e, devices, numbers, orders, functions, state), state


def arrays(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels in memory; `groups.py` excludes data on disk."""
    assert data.arrays is not None
    return data.arrays
