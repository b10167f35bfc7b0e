"""`train_and_evaluate`: named builds, then the loop and all its side effects in one fixed order."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import optax

from lenet_alexnet import config as configs
from lenet_alexnet import step as steps
from lenet_alexnet.checkpoint import Checkpoints
from lenet_alexnet.data import Split, load_split
from lenet_alexnet.data.augment import Preprocess, create_preprocess
from lenet_alexnet.data.order import Order
from lenet_alexnet.duration import to_steps
from lenet_alexnet.errors import Diverged, Interrupted, UsageError
from lenet_alexnet.evaluate import Evaluator, summarize
from lenet_alexnet.losses import Loss, create_loss
from lenet_alexnet.models import create_model
from lenet_alexnet.optimizers import create_optimizer
from lenet_alexnet.record import MetricsLog, Progress, RunDirectory


class Schedule(NamedTuple):
    """The run in steps: its length and its intervals (0: never)."""

    total: int
    log: int
    evaluate: int
    save: int
    per_dispatch: int

    def due(self, step: int) -> tuple[bool, bool]:
        """Whether to evaluate and to save after `step` steps; the end has its own."""
        if step == self.total:
            return False, False
        return tuple(bool(n) and step % n == 0 for n in (self.evaluate, self.save))  # type: ignore

    def next_stop(self, step: int) -> int:
        """Where the dispatch that starts at `step` must end."""
        stops = [self.total, step + self.per_dispatch]
        stops += [step - step % n + n for n in (self.log, self.evaluate, self.save) if n]
        return min(stops)


class Experiment(NamedTuple):
    """What a config stands for, built."""

    model: nn.Module
    preprocess: Preprocess
    train_loss: Loss
    eval_loss: Loss
    tx: optax.GradientTransformation
    rate: optax.Schedule
    schedule: Schedule
    order: Order
    train_data: Split
    eval_data: dict[str, Split]


def build(config: Any) -> Experiment:
    """Loads the data and builds the network, the optimizer and the schedule of a config."""
    model = create_model(precision=config.train.precision, **config.model)
    preprocess = build_preprocess(config)
    train_data = load(config, config.data.train)
    eval_data = {
        name: load(config, config.data[name])
        for name in ("validation", "test")
        if config.data[name]
    }
    size, batch_size = len(train_data), config.train.batch_size
    if not 1 <= batch_size <= size:
        raise UsageError(f"train.batch_size {batch_size} is not within 1..{size}, the training set")

    for key, value in (
        ("train.steps_per_dispatch", config.train.steps_per_dispatch),
        ("eval.batch_size", config.eval.batch_size),
    ):
        if value < 1:
            raise UsageError(f"{key} {value} is not at least 1")
    classes = len(train_data.class_names)
    if model.num_classes < classes:
        raise UsageError(f"model.num_classes {model.num_classes} is less than the data's {classes}")

    def in_steps(text: str) -> int:
        return to_steps(text, batch_size=batch_size, examples=size)

    schedule = Schedule(
        total=in_steps(config.train.duration),
        log=in_steps(config.train.log_every),
        evaluate=in_steps(config.eval.every),
        save=in_steps(config.checkpoint.every),
        per_dispatch=config.train.steps_per_dispatch,
    )
    tx, rate = create_optimizer(
        total_steps=schedule.total, to_steps=in_steps, **config.optimizer.to_dict()
    )
    order = Order(
        config.seed, size * config.data.variants, batch_size, reshuffle=config.data.reshuffle
    )
    train_loss, eval_loss = build_losses(config)
    return Experiment(
        model, preprocess, train_loss, eval_loss, tx, rate, schedule, order, train_data, eval_data
    )


def build_losses(config: Any) -> tuple[Loss, Loss]:
    """The loss that is trained, and the same without label smoothing to evaluate with."""
    options = config.train.loss.to_dict()
    return create_loss(**options), create_loss(**{**options, "label_smoothing": 0.0})


def build_preprocess(config: Any) -> Preprocess:
    """The preprocessing of a config's `data` section."""
    data = config.data
    return create_preprocess(
        mean=data.mean, std=data.std, pad=data.pad, distort=data.distort.to_dict()
    )


def load(config: Any, split: str) -> Split:
    """One split of a config's data."""
    data = config.data
    return load_split(
        source=data.source,
        name=data.name,
        data_dir=data.data_dir,
        split=split,
        image_size=data.image_size,
        channels=data.channels,
    )


def train_and_evaluate(
    config: Any, workdir: Path, *, stop_requested: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Trains what `config` says in `workdir`, going on from its newest checkpoint.

    Returns the summary that it also writes.

    Raises:
      Interrupted: `stop_requested` became true; everything is saved.
      Diverged: the loss or a gradient became NaN or infinite.
    """
    run = RunDirectory(workdir, config)
    done = run.summary()
    if done and done["status"] == "completed":
        say(f"{workdir} is complete already: nothing to train")
        return done
    experiment = build(config)
    run.begin(experiment.train_data.class_names)
    return _Loop(config, experiment, run, stop_requested).run()


class _Loop:
    """The training loop of one run and its side effects."""

    def __init__(
        self, config: Any, experiment: Experiment, run: RunDirectory, stop_requested: Callable
    ) -> None:
        self.config, self.experiment, self.out = config, experiment, run
        self.stop_requested = stop_requested
        self.schedule = experiment.schedule
        self.steps_per_epoch = len(experiment.train_data) / config.train.batch_size
        # What choices are made on; without a validation split the test curve is all there is.
        self.selected_on = "validation" if config.data.validation else "test"
        self.curve = [self.selected_on] if self.selected_on in experiment.eval_data else []
        self.step, self.first_step = 0, 0
        self.results: dict[str, dict[str, Any]] = {}
        self.clock = Stopwatch()
        self.flat = FlatLoss(experiment.train_data.class_names)

    def run(self) -> dict[str, Any]:
        """Compiles, restores or starts, trains, evaluates; the summary is written at any end."""
        status = "interrupted"
        with contextlib.ExitStack() as stack:
            self.log = stack.enter_context(MetricsLog(self.out.folder / "metrics.jsonl"))
            self.checkpoints = stack.enter_context(
                Checkpoints(self.out.folder / "checkpoints", self.config.checkpoint.keep)
            )
            self._compile()
            self._restore()
            self.progress = stack.enter_context(
                Progress(self.schedule.total, self.step, self.steps_per_epoch)
            )
            try:
                with jax.transfer_guard("disallow"):
                    self._train()
                    self._finish()
                status = "completed"
            except Diverged:
                status = "diverged"
                raise
            finally:
                self.checkpoints.wait()
                summary = self._summary(status)
                self.out.write_summary(summary)
        return summary

    def _compile(self) -> None:
        """Compiles all programs ahead, so that nothing compiles later and the time is known."""
        start, e = time.monotonic(), self.experiment
        train_step = steps.make_train_step(
            e.model, e.tx, e.train_loss, e.preprocess, variants=self.config.data.variants
        )
        init_key, self.key = jax.random.split(jax.random.key(self.config.seed))
        self.state = jax.jit(partial(steps.init_state, e.model, e.tx, e.preprocess))(
            init_key, e.train_data.images[:1]
        )
        self.data = jax.device_put((e.train_data.images, e.train_data.labels))
        program = jax.jit(steps.make_train_steps(train_step), donate_argnums=0)
        arguments = (self.state, *self.data, *self._dispatch(0, 1), self.key)
        self.train_steps = program.lower(*arguments).compile()
        batch_size = self.config.eval.batch_size
        self.evaluators = {
            name: Evaluator(e.model, e.preprocess, e.eval_loss, data, batch_size, self.state.params)
            for name, data in e.eval_data.items()
        }
        self.compile_seconds = time.monotonic() - start

    def _restore(self) -> None:
        latest = self.checkpoints.latest()
        if latest is None:
            return
        self.state = self.checkpoints.restore(latest, self.state)
        self.step = self.first_step = latest
        epoch = latest / self.steps_per_epoch
        say(f"resuming at step {latest:,} of {self.schedule.total:,} (epoch {epoch:.2f})")

    def _dispatch(self, step: int, count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The arguments of one dispatch: order, count, and whether the sums start anew."""
        order = np.zeros((self.schedule.per_dispatch, self.config.train.batch_size), np.int32)
        order[:count] = self.experiment.order.batches(step, count)
        return jax.device_put((order, np.int32(count), np.bool_(step % self.schedule.log == 0)))

    def _train(self) -> None:
        pending: tuple[int, steps.Metrics] | None = None
        self.clock.start(self.step)
        while self.step < self.schedule.total:
            stop = self.schedule.next_stop(self.step)
            dispatch = self._dispatch(self.step, stop - self.step)
            self.state, sums = self.train_steps(self.state, *self.data, *dispatch, self.key)
            # Read one dispatch late: the device has its next work before we look at the last.
            if pending:
                self._read(*pending)
            self.step, pending = stop, (stop, sums)
            interrupted = self.stop_requested()
            evaluate, save = self.schedule.due(stop)
            if evaluate or save or interrupted or stop == self.schedule.total:
                self._read(*pending)
                pending = None
                with self.clock.paused():
                    error = self._evaluate(self.curve) if evaluate else None
                    if evaluate or save or interrupted:
                        self.checkpoints.save(self.step, self.state, error)
            if interrupted and stop < self.schedule.total:
                raise Interrupted(f"stopped at step {stop}, saved: run the same command again")

    def _finish(self) -> None:
        """The last evaluation, on every split, and the last checkpoint."""
        error = self._evaluate(list(self.evaluators))
        if self.checkpoints.latest() != self.step:
            self.checkpoints.save(self.step, self.state, error)

    def _read(self, step: int, sums: steps.Metrics) -> None:
        """Takes a dispatch's sums to the host; writes a line where one is due."""
        sums = jax.device_get(sums)
        self.progress.advance(step)
        if sums.first_bad_step != steps.NEVER:
            raise Diverged(
                f"the loss or a gradient was NaN or infinite at step {sums.first_bad_step}: "
                f"try a smaller optimizer.learning_rate (now {self.config.optimizer.learning_rate})"
            )
        if step % self.schedule.log == 0 or step == self.schedule.total:
            images = self.clock.lap(step) * self.config.train.batch_size
            row = self._write(step, "train", summarize(sums), images)
            self.flat.check(row)

    def _evaluate(self, splits: list[str]) -> float | None:
        """Evaluates, and returns the top-1 error of the split that selects."""
        for split in splits:
            self.results[split] = self.evaluators[split](self.state.params)
            self._write(self.step, split, self.results[split], None)
        selecting = self.results.get(self.selected_on)
        return selecting["top1_error"] if selecting else None

    def _write(
        self, step: int, split: str, result: dict[str, Any], images_per_second: float | None
    ) -> dict[str, Any]:
        with jax.transfer_guard("allow"):
            rate = float(self.experiment.rate(step))
        row = {
            "step": step,
            "epoch": round(step / self.steps_per_epoch, 4),
            "split": split,
            **result,
            "images_per_second": images_per_second,
            "learning_rate": rate,
            "time": time.time(),
        }
        self.log.write(row)
        self.progress.show(row)
        return row

    def _summary(self, status: str) -> dict[str, Any]:
        best = self.checkpoints.best()
        row = self.log.rows.get((best, self.selected_on)) if best else None
        fields = ("step", "loss", "top1_error", "top5_error", "examples")
        seconds = self.clock.seconds
        images = (self.step - self.first_step) * self.config.train.batch_size
        return {
            "status": status,
            "step": self.step,
            "epoch": round(self.step / self.steps_per_epoch, 4),
            "params": sum(leaf.size for leaf in jax.tree.leaves(self.state.params)),
            "seed": self.config.seed,
            "config_hash": configs.config_hash(self.config),
            "eval": self.results if status == "completed" else {},
            "best": row and {"selected_on": self.selected_on} | {f: row[f] for f in fields},
            "train_seconds": round(seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "images_per_second": round(images / seconds, 1) if seconds else None,
        }


class Stopwatch:
    """Time spent in training, laps at log lines, pauses for evaluation and saving."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._mark, self._step = 0.0, 0

    def start(self, step: int) -> None:
        """Training begins at `step`."""
        self._mark, self._step, self._lap = time.monotonic(), step, 0.0

    def lap(self, step: int) -> float:
        """Steps per second since the last lap."""
        self._tick()
        speed = (step - self._step) / max(self._lap, 1e-9)
        self._step, self._lap = step, 0.0
        return speed

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time in here is not training."""
        self._tick()
        yield
        self._mark = time.monotonic()

    def _tick(self) -> None:
        now = time.monotonic()
        self._lap += now - self._mark
        self.seconds += now - self._mark
        self._mark = now


class FlatLoss:
    """Says once, in plain words, that nothing is being learnt."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self._chance = math.log(len(class_names))
        self._said = False

    def check(self, row: dict[str, Any]) -> None:
        """After an epoch a loss within 1 % of guessing, or above it, is flat."""
        if not self._said and row["epoch"] >= 1 and row["loss"] > 0.99 * self._chance:
            self._said = True
            say(
                f"warning: the loss is flat at {row['loss']:.3f} after epoch {row['epoch']:.1f}, "
                f"no better than guessing ({self._chance:.3f}): learning rate or initialisation?"
            )


def say(text: str) -> None:
    """A line for the person who watches."""
    print(text, file=sys.stderr, flush=True)
