"""One run: its state on the devices, and what `schedule.follow` does with it."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
import numpy as np

from lenet_alexnet.errors import Diverged, Interrupted
from lenet_alexnet.optimizers.plateau import WithPlateau
from lenet_alexnet.optimizers.sdlm import get_curvature
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.directory import RunDirectory
from lenet_alexnet.runs.metrics import MetricsLog, Row
from lenet_alexnet.runs.wall_time import EVALUATION, SAVING, WallTime
from lenet_alexnet.runtime.console import say
from lenet_alexnet.runtime.processes import any_process
from lenet_alexnet.training import warm_start
from lenet_alexnet.training.back_off import BackOff
from lenet_alexnet.training.compiled import CompiledRun
from lenet_alexnet.training.evaluation import summarize_steps
from lenet_alexnet.training.experiment import SELECTS, Experiment
from lenet_alexnet.training.profile import Profile
from lenet_alexnet.training.progress import DataWait, FlatLoss, Progress, Stopwatch
from lenet_alexnet.training.run_log import RunLog
from lenet_alexnet.training.state import NEVER, Noted, TrainState
from lenet_alexnet.training.warm_start import WarmStart


class SingleRun:
    """One run, trained by `schedule.follow`, and its side effects.

    Args:
      config, experiment: of the run.
      out: its folder.
      times, metrics, checkpoints: open in that folder.
      compiled, state: from `compile_run`.
      stop_requested, profile: called before every dispatch, and around it.
    """

    def __init__(
        self,
        config: Any,
        experiment: Experiment,
        out: RunDirectory,
        *,
        times: WallTime,
        metrics: MetricsLog,
        checkpoints: Checkpoints,
        compiled: CompiledRun,
        state: TrainState,
        stop_requested: Callable[[], bool],
        profile: Profile,
    ) -> None:
        self.config, self.experiment, self.schedule = config, experiment, experiment.schedule
        self.out, self.times = out, times
        self.metrics, self.checkpoints, self.compiled = metrics, checkpoints, compiled
        self.state, self._stop_requested, self._profile = state, stop_requested, profile
        self.step, self.first_step = 0, 0
        self.log = RunLog(config, experiment, out, metrics)
        self.back_off = BackOff(config.train.back_off, out.folder)
        self.progress: Progress
        self.flat_loss = FlatLoss(experiment.train_data.class_names)
        self.clock, self.data_wait = Stopwatch(), DataWait(experiment.train_data.arrays is None)

    def restore(self, start: Callable[[], WarmStart | None]) -> None:
        """Restores the newest checkpoint, if there is one; else takes the weights of `start`."""
        latest = self.checkpoints.latest()
        if latest is None:
            self.state = warm_start.begin(start(), self.state, self.experiment.layout.replace)
            if self.back_off.possible:
                self._save(None)
            return
        self.back_off.resume(latest)
        self.go_to(latest)
        epoch = f"epoch {latest / self.experiment.steps_per_epoch:.2f}"
        say(f"resuming at step {latest:,} of {self.schedule.total:,} ({epoch})")

    def go_to(self, saved: int) -> None:
        """Restores the checkpoint of step `saved`, with its share of the learning rate."""
        state = self.checkpoints.restore(saved, self.state)
        self.state = self.back_off.apply(state, self.experiment.layout)
        self.first_step += saved - self.step  # `step - first_step` counts the steps trained.
        self.step = saved
        self.times.go_to(saved)

    def catch_up(self, ended: Sequence[int]) -> None:
        """What a run leaves out where it has `ended`, but a longer one does: to use the error."""
        if self.step in ended and self.schedule.due(self.step)[0]:
            self._select()

    def stop_requested(self) -> bool:
        """Whether any of the processes was told to stop."""
        return any_process(self._stop_requested())

    def save_and_stop(self) -> NoReturn:
        """Saves, and raises Interrupted."""
        self.checkpoints.wait()
        if self.checkpoints.latest() != self.step:
            self._save(None, wait=True)
        raise Interrupted(f"stopped at step {self.step}, saved: run the same command again")

    def refresh_curvature(self) -> None:
        """The second backward pass of 1998: a curvature, hence a step size, for each parameter."""
        e, compiled = self.experiment, self.compiled
        assert compiled.refresh is not None
        index = e.layout.put(e.curvature_index(self.step))
        self.state = compiled.refresh(self.state, compiled.images, index, compiled.key)
        h = jax.device_get(get_curvature(self.state.opt_state))
        self.log.write_step_sizes(self.step, h, share=self.share)

    def dispatch(self, stop: int, running: Any) -> Noted:
        """Starts the steps up to `stop`; returns their sums."""
        run = self.compiled.prepare(self.state, self.step, stop - self.step, running)
        self.state, sums = self._profile.dispatch(self.step, stop, self.state, run)
        return sums

    def read(self, step: int, sums: Noted) -> None:
        """Copies a dispatch's sums to the host; writes a log line if one is due."""
        sums = jax.device_get(sums)
        self.progress.advance(step)
        self.times.step, self.times.waited = step, self.compiled.feed.waited
        if sums.first_bad_step != NEVER:
            raise _diverged(sums.first_bad_step, self.config, self.checkpoints.latest())
        if step % self.schedule.log == 0 or step == self.schedule.total:
            speed = self.clock.lap(step) * self.config.train.batch_size
            waits = self.data_wait.share(self.compiled.feed.waited, self.clock.seconds)
            self.flat_loss.check(self._write(step, "train", summarize_steps(sums) | waits, speed))

    def save_overdue(self) -> bool:
        """Whether in any process the last save is too long ago."""
        return any_process(self.checkpoints.overdue())

    def evaluate_and_save(self, *, evaluate: bool) -> None:
        """Saves; before that evaluates, if `evaluate`, and tells the optimizer the error."""
        with self.clock.paused():
            self._save(self._select() if evaluate else None)

    def _select(self) -> float | None:
        """Evaluates, and tells the optimizer the error on the validation split, if there is one."""
        self._evaluate(self.experiment.curve)
        error = self.log.error()
        if error is not None and self.compiled.observe:
            _observe(self, error)
        return error

    def _evaluate(self, splits: list[str]) -> None:
        with self.times.spent_on(EVALUATION):
            for split in splits:
                self._write(self.step, split, self.compiled.evaluators[split](self.state.variables))

    def _save(self, error: float | None, *, wait: bool = False) -> None:
        with self.times.spent_on(SAVING):
            self.checkpoints.save(self.step, self.state, error, wait=wait, first=self._sync)

    def _sync(self) -> None:
        """What must be on disk before a checkpoint is."""
        self.metrics.sync()
        self.times.sync()

    @property
    def share(self) -> float:
        """The share of the learning rate left after drops on a plateau or after divergence."""
        if not isinstance(self.state.opt_state, WithPlateau):
            return 1.0
        return float(jax.device_get(self.state.opt_state.plateau.share))

    def _write(self, step: int, split: str, result: Row, speed: float | None = None) -> Row:
        row = self.log.write(step, split, result, images_per_second=speed, share=self.share)
        self.progress.show(row)
        return row

    def finish(self) -> None:
        """The last evaluation, on every split, and the last checkpoint."""
        if self.stop_requested():
            self.save_and_stop()
        self._evaluate(list(self.compiled.evaluators))
        self._save(self.log.error(), wait=True)


def _observe(run: SingleRun, error: float) -> None:
    """Tells the optimizer the validation error; it may lower the rate."""
    e, before = run.experiment, run.share
    assert run.compiled.observe is not None
    error_there = e.layout.put(np.float32(error))
    opt_state = run.compiled.observe(run.state.opt_state, error_there)
    run.state = run.state.replace(opt_state=opt_state)
    if run.share != before:
        rate = run.share * e.rate(run.step)
        say(f"the {SELECTS} error stalls: learning rate {rate:.3g} from here")


def _diverged(step: Any, config: Any, saved: int | None) -> Diverged:
    """The error of a run that diverged at a step; `saved` is its newest checkpoint."""
    return Diverged(
        f"the loss or a parameter was NaN or infinite at step {step}: try a "
        f"smaller optimizer.learning_rate (now {config.optimizer.learning_rate}) or smaller "
        "initial biases; "
        + ("nothing was saved yet" if saved is None else f"step {saved} is saved and good")
    )
