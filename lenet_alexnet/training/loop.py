"""`train_and_evaluate`: the training loop and all its side effects in one fixed order."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lenet_alexnet import config as configs
from lenet_alexnet.errors import Diverged, Interrupted
from lenet_alexnet.optimizers.plateau import WithPlateau
from lenet_alexnet.optimizers.sdlm import get_curvature, step_report, step_sizes
from lenet_alexnet.runs import lock
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.directory import RunDirectory
from lenet_alexnet.runs.metrics import MetricsLog
from lenet_alexnet.runtime.backend import agree
from lenet_alexnet.runtime.console import Flat, Progress, Starving, Stopwatch, first_process, say
from lenet_alexnet.training import fingerprint
from lenet_alexnet.training import step as steps
from lenet_alexnet.training.back_off import BackOff
from lenet_alexnet.training.batches import create_feed
from lenet_alexnet.training.compiled import Program
from lenet_alexnet.training.evaluation import Evaluator, summarize
from lenet_alexnet.training.experiment import SELECTS, Experiment, build
from lenet_alexnet.training.state import NEVER, Metrics, TrainState


def train_and_evaluate(
    config: Any, workdir: Path, *, stop_requested: Callable[[], bool] = lambda: False,
    devices: int = 0, allow_other_bits: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Trains what `config` says in `workdir`, going on from its newest checkpoint.

    Args:
      config: see config.py.
      workdir: the run's folder.
      stop_requested: asked after every dispatch.
      devices: how many share each batch, see `experiment.build`.
      allow_other_bits: a run may go on where its numbers are not computed to the same bits.

    Returns the summary that it also writes.

    Raises:
      UsageError: `workdir` holds another run, or cannot go on to the same bits here.
      Interrupted: `stop_requested` became true; everything is saved.
      Diverged: the loss or a parameter became NaN or infinite.
    """
    agree("config", fingerprint.of_program(config))
    # Of many processes the first one writes; all of them read.
    with lock.hold(workdir) if first_process() else contextlib.nullcontext() as held:
        run = RunDirectory(workdir, config, writes=first_process(), held=held)
        done = run.summary()
        if done and done["status"] == "completed":
            say(f"{workdir} is complete already: nothing to train")
            return done
        begun = run.begun()
        with run.outcome(), fingerprint.as_begun(begun) as loops_used:
            experiment = build(config, devices=devices)
            facts = fingerprint.facts(fingerprint.of_data(experiment), begun)
            agree("data", facts["data"])
            fingerprint.check(workdir, begun, facts, allow=allow_other_bits)
            run.begin(experiment.train_data.class_names, experiment.statistics, facts)
            return _Loop(config, experiment, run, stop_requested, loops_used).run()


class _Loop:
    """The training loop of one run and its side effects."""

    def __init__(
        self, config: Any, experiment: Experiment, run: RunDirectory, stop_requested: Callable,
        loops_used: Callable[[], bool | None] = lambda: None,
    ) -> None:  # fmt: skip
        self.config, self.experiment, self.out = config, experiment, run
        self.stop_requested, self.loops_used = stop_requested, loops_used
        self.schedule = experiment.schedule
        self.step, self.first_step = 0, 0
        self.state: TrainState
        self.observe: Callable[[Any, Any], Any]
        self.back_off = BackOff(config.train.back_off, run.folder)
        self.results: dict[str, dict[str, Any]] = {}
        self.clock = Stopwatch()
        self.flat = Flat(experiment.train_data.class_names)
        self.starving = Starving(experiment.train_data.arrays is None)

    def run(self) -> dict[str, Any]:
        """Compiles, restores or starts, trains, evaluates; the summary is written at any end."""
        status = "interrupted"
        with contextlib.ExitStack() as stack:
            self.log = stack.enter_context(
                MetricsLog(self.out.folder / "metrics.jsonl", writes=first_process())
            )
            self.checkpoints = stack.enter_context(
                Checkpoints(
                    self.out.folder / "checkpoints",
                    self.config.checkpoint.keep,
                    minutes=self.config.checkpoint.minutes,
                    check=self.out.check,
                )
            )
            self._say_what()
            self._compile()
            agree("program", {"loops in C++": self.loops_used()})
            self.out.note_loops(self.loops_used())
            self._restore()
            self.progress = stack.enter_context(
                Progress(self.schedule.total, self.step, self.experiment.steps_per_epoch)
            )
            try:
                with jax.transfer_guard("disallow"):
                    while self.step < self.schedule.total:
                        try:
                            self._train()
                        except Diverged as error:
                            kept = self.checkpoints, self.log
                            self._go_to(self.back_off.go_back(error, self.experiment, *kept))
                    self._finish()
                status = "completed"
            finally:  # What else may have ended it, `RunDirectory.outcome` notes.
                self.checkpoints.wait()
                summary = self._summary(status)
                self.out.write_summary(summary)
        return summary

    @property
    def share(self) -> float:
        """What drops on a plateau, or going back, have left of the learning rate."""
        if not isinstance(self.state.opt_state, WithPlateau):
            return 1.0
        return float(jax.device_get(self.state.opt_state.plateau.share))

    def _observe(self, error: float) -> None:
        """Tells the optimizer the validation error; it may lower the rate."""
        e, before = self.experiment, self.share
        error_there = e.layout.put(np.float32(error))
        self.state = self.state.replace(opt_state=self.observe(self.state.opt_state, error_there))
        if self.share != before:
            rate = self.share * e.rate(self.step)
            say(f"the {SELECTS} error stalls: learning rate {rate:.3g} from here")

    def _say_what(self) -> None:
        e, batch_size = self.experiment, self.config.train.batch_size
        if e.optimizer.note:
            say(e.optimizer.note)
        say(
            f"{self.config.model.name} on {len(e.train_data):,} images: {self.schedule.total:,} "
            f"steps of {batch_size} on {jax.devices()[0].device_kind}, seed {self.config.seed}; "
            "compiling"
        )

    def _compile(self) -> None:
        """Compiles all programs ahead, so that nothing compiles later and the time is known."""
        start, e = time.monotonic(), self.experiment
        self.feed = create_feed(
            e.train_data, e.order, self.schedule.per_dispatch, e.layout, self.schedule.total
        )
        program = Program(
            self.config, model=e.model, optimizer=e.optimizer, loss=e.train_loss,
            preprocess=e.preprocess, layout=e.layout, blank=e.blank,
            make_steps=self.feed.make_steps,
        )  # fmt: skip
        self.state, self.key = program.initialise(self.config.seed)
        self.train_steps = program.steps.lower(
            self.state, *self._dispatch(0, 0), self.key
        ).compile()
        if e.optimizer.curvature:
            refresh = jax.jit(
                steps.make_refresh(e.model, e.preprocess, variants=self.config.data.variants),
                donate_argnums=0,
            )
            index = e.layout.put(e.curvature_index(e.order, 0))
            self.images = self._dispatch(0, 0)[0]
            self.refresh = refresh.lower(self.state, self.images, index, self.key).compile()
        batch_size, variables = self.config.eval.batch_size, self.state.variables
        self.evaluators = {
            name: Evaluator(e.scores, e.eval_loss, data, batch_size, variables, e.layout)
            for name, data in e.eval_data.items()
        }
        if e.optimizer.observe:
            observe = jax.jit(e.optimizer.observe, donate_argnums=0)
            error = e.layout.put(np.float32(0))
            self.observe = observe.lower(self.state.opt_state, error).compile()
        self.compile_seconds = time.monotonic() - start

    def _restore(self) -> None:
        latest = self.checkpoints.latest()
        if latest is None:
            if self.back_off.possible:
                self._save(None)
            return
        self.back_off.resume(latest)
        self._go_to(latest)
        epoch = latest / self.experiment.steps_per_epoch
        say(f"resuming at step {latest:,} of {self.schedule.total:,} (epoch {epoch:.2f})")

    def _go_to(self, saved: int) -> None:
        """Takes the state and the rate of a checkpoint's step."""
        state = self.checkpoints.restore(saved, self.state)
        self.state = self.back_off.apply(state, self.experiment.layout)
        self.first_step += saved - self.step  # So that `step - first_step` is what was trained.
        self.step = saved

    def _dispatch(self, step: int, count: int, running: Any = None) -> tuple[jax.Array, ...]:
        """The arguments of one dispatch: data, order, count, and whether the sums start anew."""
        fresh = np.bool_(step % self.schedule.log == 0)
        scalars = self.experiment.layout.put((np.int32(count), fresh))
        return (*self.feed(step, count, running), *scalars)

    def _train(self) -> None:
        pending: tuple[int, Metrics] | None = None
        e = self.experiment
        self.clock.start(self.step)
        while self.step < self.schedule.total:
            if e.layout.agree(self.stop_requested()):
                if pending:
                    self._read(*pending)
                self._interrupt()
            if self.schedule.refresh and self.step % self.schedule.refresh == 0:
                self._refresh()
            stop = self.schedule.next_stop(self.step)
            running = pending and pending[1].loss
            dispatch = self._dispatch(self.step, stop - self.step, running)
            self.state, sums = self.train_steps(self.state, *dispatch, self.key)
            # Read one dispatch late: the device has its next work before we look at the last.
            if pending:
                self._read(*pending)
            self.step, pending = stop, (stop, sums)
            evaluate, save = self.schedule.due(stop)
            save = save or (
                stop < self.schedule.total and e.layout.agree(self.checkpoints.overdue())
            )
            if evaluate or save or stop == self.schedule.total:
                self._read(*pending)
                pending = None
                with self.clock.paused():
                    error = self._evaluate(e.curve) if evaluate else None
                    if error is not None and e.optimizer.observe:
                        self._observe(error)
                    if evaluate or save:
                        self._save(error)

    def _save(self, error: float | None, *, wait: bool = False) -> None:
        self.checkpoints.save(self.step, self.state, error, wait=wait, first=self.log.sync)

    def _interrupt(self) -> None:
        self.checkpoints.wait()
        if self.checkpoints.latest() != self.step:
            self._save(None, wait=True)
        raise Interrupted(f"stopped at step {self.step}, saved: run the same command again")

    def _refresh(self) -> None:
        """The second backward pass of 1998: a curvature, and so a step, for every parameter."""
        e = self.experiment
        assert e.optimizer.curvature is not None
        index = e.layout.put(e.curvature_index(e.order, self.step))
        self.state = self.refresh(self.state, self.images, index, self.key)
        h = jax.device_get(get_curvature(self.state.opt_state))
        eta, numbers = self.share * e.rate(self.step), e.optimizer.curvature
        report = step_report(step_sizes(h, eta, numbers.mu, numbers.energy))
        with MetricsLog(self.out.folder / "step_sizes.jsonl", writes=first_process()) as log:
            log.write({"step": self.step, "split": "step sizes", **report})

    def _finish(self) -> None:
        """The last evaluation, on every split, and the last checkpoint."""
        if self.experiment.layout.agree(self.stop_requested()):
            self._interrupt()
        error = self._evaluate(list(self.evaluators))
        self._save(error, wait=True)

    def _read(self, step: int, sums: Metrics) -> None:
        """Takes a dispatch's sums to the host; writes a line where one is due."""
        sums = jax.device_get(sums)
        self.progress.advance(step)
        if sums.first_bad_step != NEVER:
            rate, last = self.config.optimizer.learning_rate, self.checkpoints.latest()
            raise Diverged(
                f"the loss or a parameter was NaN or infinite at step {sums.first_bad_step}: try a "
                f"smaller optimizer.learning_rate (now {rate}) or smaller initial biases; "
                + ("nothing was saved yet" if last is None else f"step {last} is saved and good")
            )
        if step % self.schedule.log == 0 or step == self.schedule.total:
            images = self.clock.lap(step) * self.config.train.batch_size
            waits = self.starving.share(self.feed.waited, self.clock.seconds)
            row = self._write(step, "train", summarize(sums) | waits, images)
            self.flat.check(row)

    def _evaluate(self, splits: list[str]) -> float | None:
        """Evaluates, and returns the validation split's top-1 error (None without that split)."""
        for split in splits:
            self.results[split] = self.evaluators[split](self.state.variables)
            self._write(self.step, split, self.results[split], None)
        selecting = self.results.get(SELECTS)
        return selecting["top1_error"] if selecting else None

    def _write(
        self, step: int, split: str, result: dict[str, Any], images_per_second: float | None
    ) -> dict[str, Any]:
        row = self.experiment.row(step, split, result, images_per_second, self.share)
        self.out.check()
        self.log.write(row)
        self.progress.show(row)
        return row

    def _summary(self, status: str) -> dict[str, Any]:
        seconds = self.clock.seconds
        images = (self.step - self.first_step) * self.config.train.batch_size
        return {
            "status": status,
            "step": self.step,
            "epoch": round(self.step / self.experiment.steps_per_epoch, 4),
            "params": sum(leaf.size for leaf in jax.tree.leaves(self.state.params)),
            "seed": self.config.seed,
            "config_hash": configs.config_hash(self.config),
            "eval": self.results if status == "completed" else {},
            "best": self.log.result(self.checkpoints.best(), SELECTS),
            "train_seconds": round(seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "images_per_second": round(images / seconds, 1) if seconds else None,
            **({"back_offs": self.back_off.count} if self.config.train.back_off else {}),
        }
