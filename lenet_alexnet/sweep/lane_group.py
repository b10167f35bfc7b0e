"""Runs side by side: the stacked states of all lanes, trained by `schedule.follow`."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np

from lenet_alexnet.data import Dataset
from lenet_alexnet.errors import Interrupted
from lenet_alexnet.optimizers.sdlm import get_curvature
from lenet_alexnet.runs import lock
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.directory import RunDirectory
from lenet_alexnet.runs.metrics import MetricsLog
from lenet_alexnet.runtime.console import say
from lenet_alexnet.sweep.lane_functions import LaneDevices, LaneFunctions, stack_lanes
from lenet_alexnet.training import fingerprint, warm_start
from lenet_alexnet.training.builders import build_optimizer
from lenet_alexnet.training.evaluation import summarize
from lenet_alexnet.training.experiment import Experiment
from lenet_alexnet.training.progress import Stopwatch
from lenet_alexnet.training.run_log import RunLog, costs
from lenet_alexnet.training.state import NEVER, Metrics
from lenet_alexnet.training.step_programs import StepPrograms
from lenet_alexnet.training.warm_start import WarmStart


class Lane:
    """One run's directory, log, checkpoints, order and schedule."""

    def __init__(
        self,
        config: Any,
        folder: Path,
        experiment: Experiment,
        data: Any,
        stack: contextlib.ExitStack,
        allow_other_bits: bool,
        weights: dict[str, Any],
    ) -> None:
        self.config = config
        held = stack.enter_context(lock.hold(folder))
        self.out = RunDirectory(folder, config, held=held)
        self.begun = self.out.begun()
        facts = fingerprint.facts(data, self.begun) | weights
        fingerprint.check(folder, self.begun, facts, allow=allow_other_bits)
        self.out.begin(experiment.train_data.class_names, experiment.statistics, facts)
        metrics = stack.enter_context(MetricsLog(folder / "metrics.jsonl"))
        # A kill may come between the saves of two lanes: the previous step must still exist.
        keep = max(config.checkpoint.keep, 2)
        self.checkpoints = stack.enter_context(
            Checkpoints(folder / "checkpoints", keep, check=self.out.check)
        )
        self.e = dataclasses.replace(
            experiment,
            optimizer=build_optimizer(config, len(experiment.train_data)),
            order=experiment.order.with_seed(config.seed),
        )
        self.log = RunLog(config, self.e, self.out, metrics)
        self.bad_step: int | None = None

    def finish(self, status: str, step: int, costs: dict[str, Any]) -> dict[str, Any]:
        """Writes and returns the summary."""
        summary = self.log.summary(status, step, self.checkpoints.best(), costs)
        if self.bad_step is not None:
            summary |= {"status": "diverged", "step": self.bad_step, "eval": {}}
        self.out.write_summary(summary)
        return summary


class LaneGroup:
    """The states of all lanes, stacked, trained by `schedule.follow`."""

    def __init__(
        self,
        experiment: Experiment,
        lanes: list[Lane],
        devices: LaneDevices,
        stop_requested: Callable[[], bool],
    ) -> None:
        self.e, self.lanes, self.devices = experiment, lanes, devices
        self.stop_requested = stop_requested
        self.config, self.schedule = lanes[0].config, experiment.schedule
        self.step = self.first_step = 0
        self.clock, self.began = Stopwatch(), time.monotonic()

    def start(self, weights: Callable[[], WarmStart | None]) -> None:
        """Restores the states, or makes fresh ones with `weights` if there are, and compiles."""
        functions, e = LaneFunctions(self.config, self.e, at_once=self.devices.at_once), self.e
        host = stack_lanes([lane.config for lane in self.lanes])
        self.numbers = self.devices.spread(host)
        blank = self.devices.everywhere(e.blank)
        self.state = self.devices.jit(functions.init)(self.numbers, blank)
        self.data = self.devices.everywhere(arrays(e.train_data))
        self.eval_data = {
            name: self.devices.everywhere((*arrays(split), np.int32(len(split))))
            for name, split in e.eval_data.items()
        }
        self._restore(weights)
        train = self.devices.jit(functions.train, donate=True)
        self.steps = StepPrograms(
            lambda full: train.lower(self.state, *self._arguments(0, 1, full=full)), self.schedule
        )
        self.refresh = self.devices.jit(functions.refresh, donate=True)
        self.evaluate = self.devices.jit(functions.evaluate)

    def _restore(self, weights: Callable[[], WarmStart | None]) -> None:
        """Resumes from the newest step that every lane has saved, if there is one."""
        common = set.intersection(*(set(lane.checkpoints.steps()) for lane in self.lanes))
        if not common:
            self.state = warm_start.begin(weights(), self.state, self.devices.repeat)
            return
        self.step = self.first_step = max(common)
        template = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), self.state)
        states = [
            jax.device_get(lane.checkpoints.restore(self.step, template)) for lane in self.lanes
        ]
        self.state = self.devices.spread(jax.tree.map(lambda *x: np.stack(x), *states))
        say(f"resuming at step {self.step:,} of {self.schedule.total:,}")

    def start_clock(self) -> None:
        """Training begins."""
        self.compile_seconds = time.monotonic() - self.began
        self.clock.start(self.step)

    def _arguments(self, step: int, count: int, *, full: bool) -> tuple[Any, Any]:
        """The arguments of a dispatch besides the state: of each lane, and shared ones."""
        size = (len(self.lanes), self.schedule.per_dispatch, self.config.train.batch_size)
        order = np.zeros(size, np.int32)
        for rows, lane in zip(order, self.lanes, strict=True):
            rows[:count] = lane.e.order.batches(step, count)
        shared = (None if full else np.int32(count), np.bool_(step % self.schedule.log == 0))
        of_lanes = (self.numbers, self.devices.spread(order))
        return of_lanes, (*self.data, *self.devices.everywhere(shared))

    def save_and_stop(self) -> NoReturn:
        """Saves all lanes, and raises Interrupted."""
        self._save(evaluated=False)
        raise Interrupted(f"stopped at step {self.step}, saved: run the same command again")

    def refresh_curvature(self) -> None:
        """The second backward pass of 1998, each lane on its own examples."""
        index = np.stack([lane.e.curvature_index(self.step) for lane in self.lanes])
        of_lanes = (self.numbers, self.devices.spread(index))
        self.state = self.refresh(self.state, of_lanes, self.data[0])
        h = jax.device_get(get_curvature(self.state.opt_state))
        for i, lane in self._live():
            lane.log.write_step_sizes(self.step, _lane_of(h, i))

    def dispatch(self, stop: int, running: Any) -> Metrics:
        """Starts the steps up to `stop`; returns all lanes' sums."""
        del running  # The data are resident: nothing is waited for.
        full = self.steps.is_full(stop - self.step)
        arguments = self._arguments(self.step, stop - self.step, full=full)
        self.state, sums = self.steps.program(full)(self.state, *arguments)
        return sums

    def read(self, step: int, sums: Metrics) -> None:
        """Copies a dispatch's sums to the host; marks diverged lanes; writes log lines if due."""
        sums = jax.device_get(sums)
        due = step % self.schedule.log == 0 or step == self.schedule.total
        speed = self.clock.lap(step) * self.config.train.batch_size if due else None
        for i, lane in self._live():
            mine = _lane_of(sums, i)
            if mine.first_bad_step != NEVER:
                lane.bad_step = int(mine.first_bad_step)
                say(f"{lane.out.folder.name} diverged at step {lane.bad_step:,}; others continue")
            elif due:
                lane.log.write(step, "train", summarize(mine), images_per_second=speed)

    def save_overdue(self) -> bool:
        """Whether some lane's last save is too long ago."""
        return any(lane.checkpoints.overdue() for lane in self.lanes)

    def evaluate_and_save(self, *, evaluate: bool) -> None:
        """Saves the lanes; before that evaluates on the split of the curve, if `evaluate`."""
        with self.clock.paused():
            if evaluate:
                self._evaluate(self.e.curve)
            self._save(evaluated=evaluate)

    def finish(self) -> None:
        """The last evaluation, on every split, and the last checkpoints."""
        self._evaluate(list(self.eval_data))
        self._save(evaluated=True)

    def _live(self) -> list[tuple[int, Lane]]:
        return [(i, lane) for i, lane in enumerate(self.lanes) if lane.bad_step is None]

    def _evaluate(self, splits: Sequence[str]) -> None:
        for split in splits:
            found = self.evaluate((self.state.variables, self.numbers), self.eval_data[split])
            sums = jax.device_get(found)
            for i, lane in self._live():
                lane.log.write(self.step, split, summarize(_lane_of(sums, i)))
        shown = "".join(self.e.curve)
        errors = [lane.log.error(shown) for _, lane in self._live()]
        known = [100 * error for error in errors if error is not None]
        if known and splits:
            say(
                f"epoch {self.step / self.e.steps_per_epoch:6.2f}  {shown} "
                f"error {min(known):.2f} .. {max(known):.2f} % of {len(known)} runs"
            )

    def _save(self, *, evaluated: bool) -> None:
        state = jax.device_get(self.state)
        for i, lane in self._live():
            if lane.checkpoints.latest() != self.step:
                error = lane.log.error() if evaluated else None
                lane.checkpoints.save(self.step, _lane_of(state, i), error)

    def summaries(self, status: str) -> list[dict[str, Any]]:
        """Waits for all saves, then writes and returns all summaries."""
        images = (self.step - self.first_step) * self.config.train.batch_size
        leaves = jax.tree.leaves(self.state.params)
        params = sum(leaf.size for leaf in leaves) // len(self.devices.index)
        found = costs(params, images, self.clock, self.compile_seconds) | {
            "side_by_side": len(self.lanes),
            "wall_seconds": round(time.monotonic() - self.began, 3),
        }
        for lane in self.lanes:  # All saves come before any summary: after a kill,
            lane.checkpoints.wait()  # lanes without a summary resume without the others.
        return [lane.finish(status, self.step, found) for lane in self.lanes]


def arrays(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels in memory; `groups.py` excludes data on disk."""
    assert data.arrays is not None
    return data.arrays


def _lane_of(stacked: Any, i: int) -> Any:
    return jax.tree.map(lambda x: np.asarray(x[i]), stacked)
