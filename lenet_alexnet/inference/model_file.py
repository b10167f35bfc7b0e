"""Our files of trained networks, opened like runs; `export` and `convert` write them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.inference.open_run import TrainedRun, open_run
from lenet_alexnet.inference.recipe import build, of_ours
from lenet_alexnet.weights import files, ours
from lenet_alexnet.weights.weight_file import WeightFile

SUFFIX = ".safetensors"


def open_trained(place: Path, checkpoint: str = "auto", data_dir: str = "") -> TrainedRun:
    """Opens a run's folder, or a file of ours.

    Args:
      place: the folder or the file.
      checkpoint: of a run, see `open_run`; a file has one.
      data_dir: where its data is.

    Raises:
      UsageError, DataError: see `open_run` and `open_file`.
    """
    if place.suffix != SUFFIX or place.is_dir():
        return open_run(place, checkpoint, data_dir)
    if checkpoint != "auto":
        raise UsageError(f"--checkpoint={checkpoint} is for runs: '{place}' holds one network")
    return open_file(place, data_dir)


def open_file(path: Path, data_dir: str = "") -> TrainedRun:
    """Opens a file that `export` or `convert` has written; nothing in it is executed.

    Raises:
      UsageError: no such file. DataError: not of ours, damaged, or its parts do not fit.
    """
    file, metadata = _read(path)
    recipe = of_ours(file, metadata)
    if data_dir:
        recipe.config.data.data_dir = data_dir
    built, card = build(file, recipe), _card(path, metadata)
    return TrainedRun(
        config=recipe.config,
        model=built.model,
        preprocess=built.preprocess,
        statistics=recipe.statistics,
        class_names=recipe.class_names,
        variables=jax.tree.map(jnp.asarray, built.variables),
        step=card.get("step", 0),
        chosen=card.get("checkpoint", "last"),
        card=card,
    )


def read_card(path: Path) -> dict[str, Any]:
    """A file's card, with what the file itself shows: parameters, bytes, checksum.

    Raises:
      UsageError, DataError: see `open_file`.
    """
    file, metadata = _read(path)
    weights = [array.size for name, array in file.arrays.items() if name.startswith("params/")]
    shown = {"params": sum(weights), "bytes": path.stat().st_size}
    card = _card(path, metadata)
    return {"model": metadata.get("model"), **card, **shown, "sha256": ours.checksum(file.arrays)}


def _read(path: Path) -> tuple[WeightFile, dict[str, Any]]:
    file = files.read(path)
    metadata = ours.metadata(file)
    if metadata is None:
        raise DataError(
            f"'{path}' does not say which network it is: lenet-alexnet convert {path} "
            f"--to=FILE{SUFFIX} makes a file that does"
        )
    return file, metadata


def _card(path: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    """The card; {} for a file that `convert` has written."""
    card = metadata.get("card", {})
    if not isinstance(card, dict) or not isinstance(card.get("step", 0), int):
        raise DataError(f"cannot read '{path}': its card is damaged")
    return card
