"""The functions of many runs side by side: each lane builds its network from its own numbers.

A lane is a run; the arrays of all lanes are stacked along their first axis. The traced function
builds the network from traced numbers, so one program serves every lane. A number that all lanes
share is a constant of the program.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet.config.options import setting
from lenet_alexnet.ops import ConvForm
from lenet_alexnet.runtime import target
from lenet_alexnet.sweep.groups import carried
from lenet_alexnet.training.builders import (
    build_losses,
    build_model,
    build_optimizer,
    build_preprocess,
    build_views,
)
from lenet_alexnet.training.experiment import Experiment
from lenet_alexnet.training.scoring import Tally, make_evaluate, make_scores
from lenet_alexnet.training.state import Noted, TrainState, init_state
from lenet_alexnet.training.step import TrainStep, refresh_curvature, resident_steps
from lenet_alexnet.training.update import BatchUpdate

LANES = PartitionSpec("lanes")


class LaneNumbers(NamedTuple):
    """What differs between runs inside the program: numbers by config entry, and keys."""

    numbers: dict[str, Any]
    init_key: Any
    key: Any


def stack_lanes(lane_configs: Sequence[Any]) -> LaneNumbers:
    """The numbers of all lanes, stacked: only those that differ; seeds become keys."""
    flats = [carried(configs.flatten(config)) for config in lane_configs]
    seeds = [flat.pop("seed") for flat in flats]
    numbers = {
        key: np.array([flat[key] for flat in flats], np.float32)
        for key in flats[0]
        if any(flat[key] != flats[0][key] for flat in flats)
    }
    # Each lane has the keys that its run would have alone (compiled.py).
    pairs = jax.vmap(jax.random.split)(jnp.stack([jax.random.key(seed) for seed in seeds]))
    return LaneNumbers(numbers, pairs[:, 0], pairs[:, 1])


def with_numbers(config: Any, numbers: dict[str, Any]) -> ConfigDict:
    """A copy of the config with a lane's numbers, which may be traced."""
    copy = ConfigDict(config.to_dict(), type_safe=False)
    for name, value in numbers.items():
        *sections, last = name.split(".")
        place = copy
        for section in sections:
            place = place[section]
        # A list's values are one array.
        place[last] = tuple(value) if getattr(value, "ndim", 0) else value
    return copy


class LaneFunctions:
    """The functions of one lane: initialise, train, evaluate; `at_once`: see `LaneDevices`."""

    def __init__(self, config: Any, experiment: Experiment, *, at_once: bool) -> None:
        self.config, self.e = config, experiment
        # Convolutions of many lanes at once have as many groups, which are slow on GPUs.
        many = at_once and target.platform() != "cpu"
        self.form: ConvForm = "products" if many else "auto"
        self.variants = config.data.variants

    def _build(self, lane: LaneNumbers) -> tuple[Any, Any, Any, Any, Any]:
        config = with_numbers(self.config, lane.numbers)
        return (
            build_model(config, self.form),
            build_optimizer(config, len(self.e.train_data)).tx,
            build_preprocess(config, self.e.in_steps, self.e.statistics),
            *build_losses(config, self.e.train_loss.class_weights or ()),
        )

    def init(self, lane: LaneNumbers, blank: Any) -> TrainState:
        """A fresh state; of the image only the shape matters."""
        model, tx, preprocess, _, _ = self._build(lane)
        average, frozen = bool(self.config.train.average), setting(self.config, "train.freeze")
        return init_state(
            model, tx, preprocess, lane.init_key, blank, average=average, frozen=frozen
        )

    def train(self, of_lane: tuple, shared: tuple) -> tuple[TrainState, Noted]:
        """Runs the steps of one dispatch; for the arguments see `step.resident_steps`."""
        state, lane, order = of_lane
        images, labels, count, fresh = shared
        model, tx, preprocess, loss, _ = self._build(lane)
        accumulate, average = self.config.train.accumulate, self.config.train.average
        update = BatchUpdate(model=model, tx=tx, loss=loss, accumulate=accumulate)
        step = TrainStep(
            update=update,
            preprocess=preprocess,
            variants=self.variants,
            average=average,
            observe=self.e.observe,
        )
        return resident_steps(step, state, images, labels, order, count, fresh, lane.key)

    def refresh(self, of_lane: tuple, images: Any) -> TrainState:
        """The curvature of a 1998 network, estimated again."""
        state, lane, index = of_lane
        model, _, preprocess, _, _ = self._build(lane)
        options = {"variants": self.variants}
        return refresh_curvature(model, preprocess, state, images, index, lane.key, **options)

    def evaluate(self, of_lane: tuple, shared: tuple) -> Tally:
        """The sums over one split."""
        variables, lane = of_lane
        model, _, preprocess, _, loss = self._build(lane)
        batch_size = min(self.config.eval.batch_size, len(shared[1]))
        views = build_views(self.config, statistics=self.e.statistics)
        scores = make_scores(model, preprocess, views)
        zero = Tally.zero(len(self.e.train_data.class_names))
        return make_evaluate(scores, loss, batch_size)(zero, variables, *shared)


class LaneDevices:
    """Spreads lanes evenly over all devices; each device runs its lanes at once or in turn.

    An accelerator needs many lanes side by side to be busy (vmap). One lane keeps a core busy:
    there one at a time is faster (lax.map), as its arrays fit the cache; each core is a device.
    """

    def __init__(self, lanes: int, *, at_once: bool | None = None) -> None:
        devices = jax.devices()[:lanes]
        self.at_once = devices[0].platform != "cpu" if at_once is None else at_once
        self.mesh = Mesh(np.array(devices), ("lanes",))
        # The last device is filled up with copies of the last lane, whose results are not used.
        self.index = np.minimum(np.arange(-(-lanes // len(devices)) * len(devices)), lanes - 1)
        self._spread = NamedSharding(self.mesh, LANES)
        self._everywhere = NamedSharding(self.mesh, PartitionSpec())

    def spread(self, stacked: Any) -> Any:
        """Arrays with a lane axis, padded and cut so that each device has its lanes."""
        padded = jax.tree.map(lambda x: x[self.index], stacked)
        return jax.device_put(padded, self._spread)

    def repeat(self, leaf: np.ndarray, old: Any) -> Any:
        """The same array for every lane, in place of the `old` ones."""
        lanes = np.broadcast_to(leaf, (len(self.index), *leaf.shape))
        return jax.device_put(lanes, old.sharding)

    def everywhere(self, shared: Any) -> Any:
        """Arrays that all lanes read, on every device."""
        return jax.device_put(shared, self._everywhere)

    def jit(self, function: Callable[..., Any], *, donate: bool = False) -> Any:
        """(lanes, shared) -> results of `function` for each lane, compiled at the first call."""

        def over_lanes(lanes: Any, shared: Any) -> Any:
            if self.at_once:
                return jax.vmap(function, in_axes=(0, None))(lanes, shared)
            return jax.lax.map(lambda lane: function(lane, shared), lanes)

        mapped = jax.shard_map(
            over_lanes,
            mesh=self.mesh,
            in_specs=(LANES, PartitionSpec()),
            out_specs=LANES,
            check_vma=False,
        )
        if not donate:
            return jax.jit(mapped)
        # The state's buffers are donated to the new state.
        return jax.jit(lambda state, rest, shared: mapped((state, *rest), shared), donate_argnums=0)
