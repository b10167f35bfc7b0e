"""The vmap executor: trials that differ only in numbers, trained as one program."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lenet_alexnet import config as configs
from lenet_alexnet.data import Split
from lenet_alexnet.data.stream import Photos
from lenet_alexnet.errors import Interrupted
from lenet_alexnet.optimizers.sdlm import get_curvature, step_report, step_sizes
from lenet_alexnet.runs import lock
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.directory import RunDirectory
from lenet_alexnet.runs.metrics import MetricsLog
from lenet_alexnet.runtime.console import Stopwatch, say
from lenet_alexnet.sweep.program import Devices, Programs, stack_lanes
from lenet_alexnet.training import fingerprint
from lenet_alexnet.training.evaluation import summarize
from lenet_alexnet.training.experiment import SELECTS, Experiment, build, build_optimizer
from lenet_alexnet.training.state import NEVER, Metrics


def train_lanes(
    lane_configs: Sequence[Any],
    folders: Sequence[Path],
    *,
    until: float = 1.0,
    stop_requested: Callable[[], bool] = lambda: False,
    at_once: bool | None = None,
    allow_other_bits: bool = False,
) -> list[dict[str, Any]]:
    """Trains one run for each config, side by side, each in its folder as if it had been alone.

    Args:
      lane_configs: with one `groups.signature`.
      folders: the run directories; all go on from the newest step that all have saved.
      until: stop after the first evaluation at or after this share of the run.
      stop_requested: asked after every dispatch.
      at_once: vmap over the lanes of a device, or one after another; None: as suits the device.
      allow_other_bits: see `loop.train_and_evaluate`.

    Returns the summaries that it also writes; a lane that diverged is among them, and does not
    disturb the others.

    Raises:
      Interrupted: `stop_requested` became true; everything is saved.
    """
    experiment = build(lane_configs[0], devices=1)  # A lane is on one device.
    data = fingerprint.of_data(experiment)
    with contextlib.ExitStack() as stack:
        lanes = [
            _Lane(config, folder, experiment, data, stack, allow_other_bits)
            for config, folder in zip(lane_configs, folders, strict=True)
        ]
        loops_used = stack.enter_context(fingerprint.as_begun(*(lane.begun for lane in lanes)))
        group = _Group(experiment, lanes, Devices(len(lanes), at_once=at_once), loops_used)
        return group.run(until, stop_requested)


def train_seeds(
    config: Any,
    seeds: Sequence[int],
    workdir: Path,
    stop_requested: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Trains one run for each seed, in workdir/seed_N; returns their summaries."""
    lane_configs = []
    for seed in seeds:
        lane_configs.append(config.copy_and_resolve_references())
        with lane_configs[-1].unlocked():
            lane_configs[-1].seed = seed
    folders = [workdir / f"seed_{seed}" for seed in seeds]
    return train_lanes(lane_configs, folders, stop_requested=stop_requested)


class _Lane:
    """One run's directory, log, checkpoints, order and schedule."""

    def __init__(
        self, config: Any, folder: Path, experiment: Experiment, data: Any,
        stack: contextlib.ExitStack, allow_other_bits: bool,
    ) -> None:  # fmt: skip
        self.config = config
        held = stack.enter_context(lock.hold(folder))
        self.out = RunDirectory(folder, config, held=held)
        self.begun = self.out.begun()
        facts = fingerprint.facts(data, self.begun)
        fingerprint.check(folder, self.begun, facts, allow=allow_other_bits)
        self.out.begin(experiment.train_data.class_names, experiment.statistics, facts)
        self.log = stack.enter_context(MetricsLog(folder / "metrics.jsonl"))
        # A kill may come between the saves of two lanes: the step before must still be there.
        keep = max(config.checkpoint.keep, 2)
        self.checkpoints = stack.enter_context(
            Checkpoints(folder / "checkpoints", keep, check=self.out.check)
        )
        self.e = experiment._replace(
            optimizer=build_optimizer(config, len(experiment.train_data)),
            order=experiment.order.with_seed(config.seed),
        )
        self.bad_step: int | None = None
        self.results: dict[str, dict[str, Any]] = {}

    def write(self, step: int, split: str, sums: Metrics, speed: float | None) -> None:
        """One line of metrics.jsonl."""
        result = summarize(sums)
        if split != "train":
            self.results[split] = result
        self.out.check()
        self.log.write(self.e.row(step, split, result, speed))

    def write_step_sizes(self, step: int, h: Any) -> None:
        """The range of the steps of 1998 in each layer."""
        assert self.e.optimizer.curvature is not None
        numbers = self.e.optimizer.curvature
        report = step_report(step_sizes(h, self.e.rate(step), numbers.mu, numbers.energy))
        with MetricsLog(self.out.folder / "step_sizes.jsonl") as log:
            log.write({"step": step, "split": "step sizes", **report})

    def error(self, split: str = SELECTS) -> float | None:
        """The last top-1 error on a split; None if there was none."""
        result = self.results.get(split)
        return result["top1_error"] if result else None

    def finish(self, status: str, step: int, common: dict[str, Any]) -> dict[str, Any]:
        """Writes and returns the summary."""
        summary = {
            "status": "diverged" if self.bad_step is not None else status,
            "step": step if self.bad_step is None else self.bad_step,
            "epoch": round(step / self.e.steps_per_epoch, 4),
            "seed": self.config.seed,
            "config_hash": configs.config_hash(self.config),
            "eval": self.results if status == "completed" and self.bad_step is None else {},
            "best": self.log.result(self.checkpoints.best(), SELECTS),
            **common,
        }
        self.out.write_summary(summary)
        return summary


class _Group:
    """The states of all lanes, stacked, and the loop over them; train.py has that of one run."""

    def __init__(
        self, experiment: Experiment, lanes: list[_Lane], devices: Devices,
        loops_used: Callable[[], bool | None],
    ) -> None:  # fmt: skip
        self.e, self.lanes, self.devices = experiment, lanes, devices
        self.loops_used = loops_used
        self.config, self.schedule = lanes[0].config, experiment.schedule
        self.step = self.first_step = 0
        self.clock, self.began = Stopwatch(), time.monotonic()

    def run(self, until: float, stop_requested: Callable[[], bool]) -> list[dict[str, Any]]:
        """Compiles, restores or starts, trains, evaluates, writes the summaries."""
        say(
            f"{len(self.lanes)} runs of {self.config.model.name} as one program on "
            f"{self.devices.mesh.size} {jax.devices()[0].device_kind} device(s), "
            f"{self.schedule.total:,} steps each; compiling"
        )
        self._start()
        for lane in self.lanes:
            lane.out.note_loops(self.loops_used())
        self.compile_seconds = time.monotonic() - self.began
        self.clock.start(self.step)
        stop_at = math.ceil(min(until, 1.0) * self.schedule.total)
        status = "interrupted"
        try:
            status = "completed" if self._train(stop_at, stop_requested) else "interrupted"
        finally:
            summaries = self._finish(status)
        return summaries

    def _start(self) -> None:
        programs, e = Programs(self.config, self.e), self.e
        host = stack_lanes([lane.config for lane in self.lanes])
        self.numbers = self.devices.spread(host)
        blank = self.devices.everywhere(e.blank)
        self.state = self.devices.jit(programs.init)(self.numbers, blank)
        self.data = self.devices.everywhere(arrays(e.train_data))
        self.eval_data = {
            name: self.devices.everywhere((*arrays(split), np.int32(len(split))))
            for name, split in e.eval_data.items()
        }
        self._restore()
        train = self.devices.jit(programs.train, donate=True)
        self.train_steps = train.lower(self.state, *self._dispatch(0, 1)).compile()
        self.refresh = self.devices.jit(programs.refresh, donate=True)
        self.evaluate = self.devices.jit(programs.evaluate)

    def _restore(self) -> None:
        """Goes on from the newest step that every lane has saved, if there is one."""
        common = set.intersection(*(set(lane.checkpoints.steps()) for lane in self.lanes))
        if not common:
            return
        self.step = self.first_step = max(common)
        template = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), self.state)
        states = [
            jax.device_get(lane.checkpoints.restore(self.step, template)) for lane in self.lanes
        ]
        self.state = self.devices.spread(jax.tree.map(lambda *x: np.stack(x), *states))
        say(f"resuming at step {self.step:,} of {self.schedule.total:,}")

    def _dispatch(self, step: int, count: int) -> tuple[Any, Any]:
        """What a dispatch takes beside the state: of each lane, and of all."""
        size = (len(self.lanes), self.schedule.per_dispatch, self.config.train.batch_size)
        order = np.zeros(size, np.int32)
        for rows, lane in zip(order, self.lanes, strict=True):
            rows[:count] = lane.e.order.batches(step, count)
        shared = (np.int32(count), np.bool_(step % self.schedule.log == 0))
        of_lanes = (self.numbers, self.devices.spread(order))
        return of_lanes, (*self.data, *self.devices.everywhere(shared))

    def _train(self, stop_at: int, stop_requested: Callable[[], bool]) -> bool:
        """To the end (true) or the first evaluation from `stop_at` on."""
        pending: tuple[int, Metrics] | None = None
        while self.step < self.schedule.total:
            if self.schedule.refresh and self.step % self.schedule.refresh == 0:
                self._refresh()
            stop = self.schedule.next_stop(self.step)
            of_lanes, shared = self._dispatch(self.step, stop - self.step)
            self.state, sums = self.train_steps(self.state, of_lanes, shared)
            # Read one dispatch late: the devices have their next work before we look at the last.
            if pending:
                self._read(*pending)
            self.step, pending = stop, (stop, sums)
            interrupted = stop_requested()
            evaluate, save = self.schedule.due(stop)
            if evaluate or save or interrupted or stop == self.schedule.total:
                self._read(*pending)
                pending = None
                with self.clock.paused():
                    if evaluate:
                        self._evaluate(self.e.curve)
                    if evaluate or save or interrupted:
                        self._save(evaluated=evaluate)
            if interrupted and stop < self.schedule.total:
                raise Interrupted(f"stopped at step {stop}, saved: run the same command again")
            if evaluate and stop >= stop_at:
                return False
        self._evaluate(list(self.eval_data))
        self._save(evaluated=True)
        return True

    def _refresh(self) -> None:
        index = np.stack([lane.e.curvature_index(lane.e.order, self.step) for lane in self.lanes])
        of_lanes = (self.numbers, self.devices.spread(index))
        self.state = self.refresh(self.state, of_lanes, self.data[0])
        h = jax.device_get(get_curvature(self.state.opt_state))
        for i, lane in self._live():
            lane.write_step_sizes(self.step, _lane_of(h, i))

    def _live(self) -> list[tuple[int, _Lane]]:
        return [(i, lane) for i, lane in enumerate(self.lanes) if lane.bad_step is None]

    def _read(self, step: int, sums: Metrics) -> None:
        """Takes a dispatch's sums to the host; marks who diverged, writes lines where due."""
        sums = jax.device_get(sums)
        due = step % self.schedule.log == 0 or step == self.schedule.total
        speed = self.clock.lap(step) * self.config.train.batch_size if due else None
        for i, lane in self._live():
            mine = _lane_of(sums, i)
            if mine.first_bad_step != NEVER:
                lane.bad_step = int(mine.first_bad_step)
                say(f"{lane.out.folder.name} diverged at step {lane.bad_step:,}; the rest goes on")
            elif due:
                lane.write(step, "train", mine, speed)

    def _evaluate(self, splits: Sequence[str]) -> None:
        for split in splits:
            found = self.evaluate((self.state.variables, self.numbers), self.eval_data[split])
            sums = jax.device_get(found)
            for i, lane in self._live():
                lane.write(self.step, split, _lane_of(sums, i), None)
        shown = "".join(self.e.curve)
        errors = [lane.error(shown) for _, lane in self._live()]
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
                error = lane.error() if evaluated else None
                lane.checkpoints.save(self.step, _lane_of(state, i), error)

    def _finish(self, status: str) -> list[dict[str, Any]]:
        images = (self.step - self.first_step) * self.config.train.batch_size
        leaves = jax.tree.leaves(self.state.params)
        common = {
            "params": sum(leaf.size for leaf in leaves) // len(self.devices.index),
            "side_by_side": len(self.lanes),
            "train_seconds": round(self.clock.seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "wall_seconds": round(time.monotonic() - self.began, 3),
            "images_per_second": round(images / self.clock.seconds, 1)
            if self.clock.seconds
            else None,
        }
        for lane in self.lanes:  # All of them, then all summaries: those that a kill
            lane.checkpoints.wait()  # leaves behind go on without the rest.
        return [lane.finish(status, self.step, common) for lane in self.lanes]


def arrays(data: Split | Photos) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels in memory; `groups.py` keeps data on disk out of here."""
    assert isinstance(data, Split)
    return data.images, data.labels


def _lane_of(stacked: Any, i: int) -> Any:
    return jax.tree.map(lambda x: np.asarray(x[i]), stacked)
