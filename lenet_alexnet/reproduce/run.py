"""Runs a claim: the seeds of a set in parallel if possible; stopped runs resume."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet.config import shipped
from lenet_alexnet.config.options import admit
from lenet_alexnet.reproduce.claims import Scale, Set
from lenet_alexnet.runs.checkout import checkout
from lenet_alexnet.runs.directory import read_summary
from lenet_alexnet.runtime.console import say


def run(
    scale: Scale,
    workdir: Path,
    *,
    seeds: int,
    data_dir: str = "",
    stop_requested: Callable[[], bool] = lambda: False,
) -> dict[str, Path]:
    """Trains the missing runs in workdir/SET/seed_N; returns the folder of each set.

    Raises:
      Interrupted: a stop was requested; everything is saved.
    """
    sets = prepare(scale, workdir, data_dir=data_dir)
    for label, (config, folder) in sets.items():
        left = remaining(folder, seeds)
        say(f"{label}: {scale.sets[label].config}, {seeds} seeds, {len(left)} to run")
        if left:
            _train(config, left, folder, stop_requested)
    return {label: folder for label, (_, folder) in sets.items()}


def prepare(
    scale: Scale, workdir: Path, *, data_dir: str = ""
) -> dict[str, tuple[ConfigDict, Path]]:
    """The config and the folder of each set."""
    return {
        label: (load(runs, data_dir), workdir / label.replace(" ", "_").replace(",", ""))
        for label, runs in scale.sets.items()
    }


def remaining(folder: Path, seeds: int) -> list[int]:
    """The seeds of a set whose runs are not complete."""
    return [seed for seed in range(seeds) if not _completed(folder / f"seed_{seed}")]


def side_by_side(config: ConfigDict, seeds: list[int]) -> bool:
    """Whether these runs are one program."""
    from lenet_alexnet.sweep.groups import may_share

    return may_share(config) and len(seeds) > 1


def load(runs: Set, data_dir: str = "") -> ConfigDict:
    """The config of a set."""
    config = configs.load(str(shipped.CONFIGS / runs.config)).get_config()
    admit(config, runs.overrides)
    with config.unlocked():
        config.update_from_flattened_dict(dict(runs.overrides))
        if data_dir:
            config.data.data_dir = data_dir
    return config


def _train(
    config: ConfigDict, seeds: list[int], folder: Path, stop_requested: Callable[[], bool]
) -> None:
    """One run per seed in folder/seed_N: small networks as one program, others in sequence."""
    from lenet_alexnet.sweep.vmap import train_seeds
    from lenet_alexnet.training.layout import most_devices
    from lenet_alexnet.training.loop import train_and_evaluate

    if side_by_side(config, seeds):
        train_seeds(config, seeds, folder, stop_requested)
        return
    for seed in seeds:
        own = configs.with_seed(config, seed)
        # The cores are devices, for parallel runs; the batch may not divide by their number.
        train_and_evaluate(
            own,
            folder / f"seed_{seed}",
            stop_requested=stop_requested,
            devices=most_devices(own),
        )


def compute(scale: Scale, data_dir: str) -> list[dict[str, Any]]:
    """Rows of results.csv computed without training: one, as nothing is random."""
    assert scale.compute is not None
    start, state = time.monotonic(), checkout()
    found = scale.compute(data_dir)
    shared = {
        "seed": 0,
        "epoch": 0,
        "train_seconds": round(time.monotonic() - start, 1),
        "side_by_side": 1,
        "commit": (state["git_commit"] or "")[:12],
        "dirty": state["git_dirty"],
        "cpu_count": os.cpu_count(),
    }
    return [{"set": label, "test_error": error, **shared} for label, error in found.items()]


def _completed(folder: Path) -> bool:
    path = folder / "summary.json"
    return path.exists() and read_summary(path)["status"] == "completed"
