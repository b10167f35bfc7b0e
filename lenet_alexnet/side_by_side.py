"""Runs that differ in their seed alone, trained side by side as one vectorised program."""

import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet import config as configs
from lenet_alexnet import step as steps
from lenet_alexnet.evaluate import summarize
from lenet_alexnet.experiment import Experiment, build
from lenet_alexnet.record import MetricsLog, RunDirectory


def train_seeds(config: Any, seeds: list[int], workdir: Path) -> list[dict[str, Any]]:
    """Trains one run for each seed, in workdir/seed_N; returns their summaries.

    Each run directory is as if the run had been alone, but without checkpoints: a set that was
    stopped starts again.
    """
    lanes = [config.copy_and_resolve_references() for _ in seeds]
    for lane, seed in zip(lanes, seeds, strict=True):
        with lane.unlocked():
            lane.seed = seed
    experiment = build(config)
    folders = [
        RunDirectory(workdir / f"seed_{seed}", lane)
        for seed, lane in zip(seeds, lanes, strict=True)
    ]
    for folder in folders:
        folder.begin(experiment.train_data.class_names)
        (folder.folder / "metrics.jsonl").unlink(missing_ok=True)
    orders = [experiment.order.with_seed(seed) for seed in seeds]
    logs = [MetricsLog(folder.folder / "metrics.jsonl") for folder in folders]
    seconds, results, params = _train(config, experiment, seeds, orders, logs)
    summaries = []
    for lane, (folder, log) in enumerate(zip(folders, logs, strict=True)):
        summary = {
            "status": "completed",
            "step": experiment.schedule.total,
            "epoch": round(experiment.schedule.total / experiment.steps_per_epoch, 4),
            "params": params,
            "seed": seeds[lane],
            "config_hash": configs.config_hash(lanes[lane]),
            "best": None,
            "eval": {split: lane_results[lane] for split, lane_results in results.items()},
            "side_by_side": len(seeds),
            "wall_seconds": round(seconds, 1),
        }
        log.__exit__()
        folder.write_summary(summary)
        summaries.append(summary)
    return summaries


def _train(
    config: Any, e: Experiment, seeds: list[int], orders: list[Any], logs: list[MetricsLog]
) -> tuple[float, dict[str, list[dict[str, Any]]], int]:
    start = time.monotonic()
    pairs = jax.vmap(jax.random.split)(jnp.stack([jax.random.key(seed) for seed in seeds]))
    keys = pairs[:, 1]
    blank = jax.device_put(e.train_data.images[:1])
    init = jax.vmap(lambda key: steps.init_state(e.model, e.optimizer.tx, e.preprocess, key, blank))
    state = jax.jit(init)(pairs[:, 0])
    images, labels = jax.device_put((e.train_data.images, e.train_data.labels))
    variants = config.data.variants
    one = steps.make_train_step(
        e.model, e.optimizer.tx, e.train_loss, e.preprocess, variants=variants
    )
    train_steps = jax.jit(
        jax.vmap(steps.make_train_steps(one), in_axes=(0, None, None, 0, None, None, 0)),
        donate_argnums=0,
    )
    refresh = jax.jit(
        jax.vmap(
            steps.make_refresh(e.model, e.preprocess, variants=variants), in_axes=(0, None, 0, 0)
        ),
        donate_argnums=0,
    )
    evaluate = jax.jit(
        jax.vmap(
            steps.make_evaluate(e.model, e.eval_loss, e.preprocess, config.eval.batch_size),
            in_axes=(0, None, None),
        )
    )
    data = {name: jax.device_put((d.images, d.labels)) for name, d in e.eval_data.items()}
    curve = "validation" if "validation" in data else "test"
    results: dict[str, list[dict[str, Any]]] = {}

    def write(step: int, split: str, sums: steps.Metrics) -> list[dict[str, Any]]:
        sums = jax.device_get(sums)
        rows = []
        for lane, log in enumerate(logs):
            rows.append(summarize(jax.tree.map(lambda x, lane=lane: x[lane], sums)))
            log.write(e.row(step, split, rows[-1], None))
        errors = 100 * np.array([row["top1_error"] for row in rows])
        print(
            f"epoch {step / e.steps_per_epoch:6.2f}  {split:<10}  error "
            f"{errors.mean():.3f} % ({' '.join(f'{x:.2f}' for x in errors)})  "
            f"{time.monotonic() - start:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        return rows

    step = 0
    while step < e.schedule.total:
        if e.schedule.refresh and step % e.schedule.refresh == 0:
            index = np.stack([e.curvature_index(order, step) for order in orders])
            state = refresh(state, images, index, keys)
        stop = e.schedule.next_stop(step)
        batches = np.zeros((len(seeds), e.schedule.per_dispatch, config.train.batch_size), np.int32)
        for lane, order in enumerate(orders):
            batches[lane, : stop - step] = order.batches(step, stop - step)
        fresh = np.bool_(step % e.schedule.log == 0)
        state, sums = train_steps(
            state, images, labels, batches, np.int32(stop - step), fresh, keys
        )
        step = stop
        if step % e.schedule.log == 0 or step == e.schedule.total:
            write(step, "train", sums)
        if step == e.schedule.total:
            for name in data:
                results[name] = write(step, name, evaluate(state.params, *data[name]))
        elif e.schedule.due(step)[0] and curve in data:
            write(step, curve, evaluate(state.params, *data[curve]))
    params = sum(leaf.size for leaf in jax.tree.leaves(state.params)) // len(seeds)
    return time.monotonic() - start, results, params
