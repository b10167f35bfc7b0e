"""Runs that differ in their seed alone, trained side by side as one vectorised program."""

import contextlib
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet import config as configs
from lenet_alexnet import step as steps
from lenet_alexnet.data import Split
from lenet_alexnet.evaluate import summarize
from lenet_alexnet.experiment import Experiment, build
from lenet_alexnet.monitor import say
from lenet_alexnet.record import MetricsLog, RunDirectory
from lenet_alexnet.state import Metrics, init_state


def train_seeds(config: Any, seeds: list[int], workdir: Path) -> list[dict[str, Any]]:
    """Trains one run for each seed, in workdir/seed_N; returns their summaries.

    Each run directory is as if the run had been alone, but without checkpoints: a set that was
    stopped starts again.
    """
    experiment = build(config)
    folders = []
    for seed in seeds:
        lane = config.copy_and_resolve_references()
        with lane.unlocked():
            lane.seed = seed
        folders.append(RunDirectory(workdir / f"seed_{seed}", lane))
        folders[-1].begin(experiment.train_data.class_names)
        (folders[-1].folder / "metrics.jsonl").unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(MetricsLog(f.folder / "metrics.jsonl")) for f in folders]
        lanes = _Lanes(config, experiment, seeds, logs)
        results = lanes.train()
    summaries = []
    for lane, folder in enumerate(folders):
        summary = {
            "status": "completed",
            "step": experiment.schedule.total,
            "epoch": round(experiment.schedule.total / experiment.steps_per_epoch, 4),
            "params": lanes.params_per_lane(),
            "seed": folder.config.seed,
            "config_hash": configs.config_hash(folder.config),
            "eval": {split: rows[lane] for split, rows in results.items()},
            "best": None,
            "side_by_side": len(seeds),
            "wall_seconds": round(lanes.seconds(), 1),
        }
        folder.write_summary(summary)
        summaries.append(summary)
    return summaries


class _Lanes:
    """The states of all runs, stacked, and the programs over them."""

    def __init__(
        self, config: Any, experiment: Experiment, seeds: list[int], logs: list[MetricsLog]
    ) -> None:
        self.start, self.logs = time.monotonic(), logs
        self.config, self.e = config, experiment
        self.orders = [experiment.order.with_seed(seed) for seed in seeds]
        e, tx, variants = experiment, experiment.optimizer.tx, config.data.variants

        # Each lane's keys are those of its run alone (train.py).
        pairs = jax.vmap(jax.random.split)(jnp.stack([jax.random.key(seed) for seed in seeds]))
        self.keys = pairs[:, 1]
        blank = jax.device_put(e.blank)
        init = jax.vmap(lambda key: init_state(e.model, tx, e.preprocess, key, blank))
        self.state = jax.jit(init)(pairs[:, 0])

        step = steps.make_train_step(e.model, tx, e.train_loss, e.preprocess, variants=variants)
        lanes = jax.vmap(steps.make_train_steps(step), in_axes=(0, None, None, 0, None, None, 0))
        self.train_steps = jax.jit(lanes, donate_argnums=0)
        refresh = steps.make_refresh(e.model, e.preprocess, variants=variants)
        self.refresh = jax.jit(jax.vmap(refresh, in_axes=(0, None, 0, 0)), donate_argnums=0)
        evaluate = steps.make_evaluate(e.scores, e.eval_loss, config.eval.batch_size)
        self.evaluate = jax.jit(jax.vmap(evaluate, in_axes=(None, 0, None, None, None)))
        assert isinstance(e.train_data, Split)
        self.data = jax.device_put((e.train_data.images, e.train_data.labels))
        self.eval_data = {
            name: jax.device_put((split.images, split.labels, np.int32(len(split))))
            for name, split in e.eval_data.items()
            if isinstance(split, Split)
        }

    def train(self) -> dict[str, list[dict[str, Any]]]:
        """Trains to the end; returns each split's last results, a row a lane."""
        schedule, step = self.e.schedule, 0
        curve = "validation" if "validation" in self.eval_data else "test"
        while step < schedule.total:
            if schedule.refresh and step % schedule.refresh == 0:
                index = np.stack([self.e.curvature_index(order, step) for order in self.orders])
                self.state = self.refresh(self.state, self.data[0], index, self.keys)
            stop = schedule.next_stop(step)
            sums = self._dispatch(step, stop - step)
            step = stop
            if step % schedule.log == 0 or step == schedule.total:
                self._write(step, "train", sums)
            if schedule.due(step)[0] and curve in self.eval_data:
                self._evaluate(step, curve)
        return {split: self._evaluate(step, split) for split in self.eval_data}

    def params_per_lane(self) -> int:
        """The number of trained parameters of one run."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.state.params)) // len(self.logs)

    def seconds(self) -> float:
        """Since the beginning, compilation and evaluation included."""
        return time.monotonic() - self.start

    def _dispatch(self, step: int, count: int) -> Metrics:
        size = (len(self.orders), self.e.schedule.per_dispatch, self.config.train.batch_size)
        batches = np.zeros(size, np.int32)
        for lane, order in enumerate(self.orders):
            batches[lane, :count] = order.batches(step, count)
        fresh = np.bool_(step % self.e.schedule.log == 0)
        self.state, sums = self.train_steps(
            self.state, *self.data, batches, np.int32(count), fresh, self.keys
        )
        return sums

    def _evaluate(self, step: int, split: str) -> list[dict[str, Any]]:
        return self._write(
            step,
            split,
            self.evaluate(Metrics.zero(), self.state.variables, *self.eval_data[split]),
        )

    def _write(self, step: int, split: str, sums: Metrics) -> list[dict[str, Any]]:
        sums = jax.device_get(sums)
        rows = []
        for lane, log in enumerate(self.logs):
            rows.append(summarize(jax.tree.map(lambda x, lane=lane: x[lane], sums)))
            log.write(self.e.row(step, split, rows[-1], None))
        errors = 100 * np.array([row["top1_error"] for row in rows])
        say(
            f"epoch {step / self.e.steps_per_epoch:6.2f}  {split:<10}  error "
            f"{errors.mean():.3f} % ({' '.join(f'{x:.2f}' for x in errors)})  "
            f"{self.seconds():.0f} s"
        )
        return rows
