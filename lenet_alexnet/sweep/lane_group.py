"""Runs side by side: the stacked states of all lanes, trained by `schedule.follow`."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
import numpy as np

from lenet_alexnet.errors import Interrupted
from lenet_alexnet.optimizers.sdlm import get_curvature
from lenet_alexnet.runs.wall_time import COMPILE, EVALUATION, SAVING, WallTime
from lenet_alexnet.runtime import heartbeat
from lenet_alexnet.runtime.console import say
from lenet_alexnet.sweep.compiled_lanes import compile_lanes
from lenet_alexnet.sweep.lane import Lane
from lenet_alexnet.sweep.lane_functions import LaneDevices
from lenet_alexnet.training import warm_start
from lenet_alexnet.training.evaluation import results, summarize_steps
from lenet_alexnet.training.experiment import Experiment
from lenet_alexnet.training.progress import Progress, Stopwatch
from lenet_alexnet.training.run_log import costs
from lenet_alexnet.training.state import NEVER, Noted
from lenet_alexnet.training.warm_start import WarmStart


class LaneGroup:
    """The states of all lanes, stacked, trained by `schedule.follow`."""

    def __init__(
        self,
        experiment: Experiment,
        lanes: list[Lane],
        devices: LaneDevices,
        times: WallTime,
        stop_requested: Callable[[], bool],
    ) -> None:
        self.e, self.lanes, self.devices = experiment, lanes, devices
        self.times = times
        self.stop_requested = lambda: stop_requested() or all(lane.stopped() for lane in lanes)
        self.config, self.schedule = lanes[0].config, experiment.schedule
        self.step = self.first_step = 0
        self.clock, self.began = Stopwatch(), time.monotonic()
        self.progress: Progress

    @heartbeat.during("compilation")
    def start(self, weights: Callable[[], WarmStart | None]) -> None:
        """Compiles; restores the states, or makes fresh ones with `weights` if there are."""
        orders = [lane.e.order for lane in self.lanes]
        with self.times.spent_on(COMPILE):
            self.compiled, self.state = compile_lanes(
                [lane.config for lane in self.lanes], self.e, self.devices, orders
            )
        self._restore(weights)

    def _restore(self, weights: Callable[[], WarmStart | None]) -> None:
        """Resumes from the newest step that every lane has saved, if there is one."""
        common = set.intersection(*(set(lane.checkpoints.steps()) for lane in self.lanes))
        if not common:
            self.state = warm_start.begin(weights(), self.state, self.devices.repeat)
            return
        self.step = self.first_step = max(common)
        self.times.go_to(self.step)
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

    def save_and_stop(self) -> NoReturn:
        """Saves all lanes, and raises Interrupted."""
        self._save(evaluated=False)
        raise Interrupted(f"stopped at step {self.step}, saved: run the same command again")

    def refresh_curvature(self) -> None:
        """The second backward pass of 1998, each lane on its own examples."""
        index = np.stack([lane.e.curvature_index(self.step) for lane in self.lanes])
        self.state = self.compiled.refresh(self.state, index)
        h = jax.device_get(get_curvature(self.state.opt_state))
        for i, lane in self._live():
            lane.log.write_step_sizes(self.step, _lane_of(h, i))

    def dispatch(self, stop: int, running: Any) -> Noted:
        """Starts the steps up to `stop`; returns all lanes' sums."""
        del running  # The data are resident: nothing is waited for.
        self.state, sums = self.compiled.train(self.state, self.step, stop - self.step)
        return sums

    def read(self, step: int, sums: Noted) -> None:
        """Copies a dispatch's sums to the host; marks diverged lanes; writes log lines if due."""
        sums = jax.device_get(sums)
        self.times.step = step
        self.progress.advance(step)
        due = step % self.schedule.log == 0 or step == self.schedule.total
        speed = self.clock.lap(step) * self.config.train.batch_size if due else None
        rows = []
        for i, lane in self._live():
            mine = _lane_of(sums, i)
            if mine.first_bad_step != NEVER:
                lane.bad_step = int(mine.first_bad_step)
                say(f"{lane.out.folder.name} diverged at step {lane.bad_step:,}; others continue")
            elif due:
                result = summarize_steps(mine)
                rows.append(lane.log.write(step, "train", result, images_per_second=speed))
        if rows:
            self.progress.show_runs(rows)

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
        self._evaluate(list(self.e.eval_data))
        self._save(evaluated=True)

    def _live(self) -> list[tuple[int, Lane]]:
        return [(i, lane) for i, lane in enumerate(self.lanes) if lane.is_kept()]

    @heartbeat.during("evaluation")
    def _evaluate(self, splits: Sequence[str]) -> None:
        with self.times.spent_on(EVALUATION):
            for split in splits:
                sums = jax.device_get(self.compiled.evaluate(self.state.variables, split))
                rows = [
                    lane.log.write(self.step, split, results(_lane_of(sums, i), lane.class_names))
                    for i, lane in self._live()
                ]
                if rows:
                    self.progress.show_runs(rows)

    def _save(self, *, evaluated: bool) -> None:
        with self.times.spent_on(SAVING):
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
        together = {
            "side_by_side": len(self.lanes),
            "wall_seconds": round(time.monotonic() - self.began, 3),
        }
        with self.times.spent_on(SAVING):
            for lane in self.lanes:  # All saves come before any summary: after a kill,
                lane.checkpoints.wait()  # lanes without a summary resume without the others.
        found = []
        for lane in self.lanes:
            times = self.times.so_far(lane.out.folder)
            size = costs(params, images, self.clock, self.compile_seconds, times)
            found.append(lane.finish(status, self.step, size | together))
        return found


def _lane_of(stacked: Any, i: int) -> Any:
    return jax.tree.map(lambda x: np.asarray(x[i]), stacked)
