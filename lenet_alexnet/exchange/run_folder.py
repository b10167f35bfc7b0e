"""Writes weights as a run's folder, which the commands open like that of a trained run."""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.exchange.recipe import Recipe
from lenet_alexnet.runs.checkpoints import write_weights
from lenet_alexnet.runs.directory import RunDirectory


def check_free(folder: Path) -> None:
    """Raises UsageError if there is something at the place of a new run."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UsageError(f"'{folder}' exists: name a new folder with --to")


def write(folder: Path, recipe: Recipe, variables: Any, origin: Mapping[str, Any]) -> None:
    """Writes config.json, run.json, statistics.npz and one checkpoint, all of them or nothing.

    Args:
      folder: must not exist, or be empty.
      recipe: the network, its preprocessing and the class names.
      variables: of the network, as arrays of JAX.
      origin: where they come from, for run.json.

    Raises:
      UsageError: the folder is not free, or not writable. DataError: it cannot be written.
    """
    check_free(folder)
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        directory = RunDirectory(aside, recipe.config)
        directory.begin(recipe.class_names, recipe.statistics, {"converted": dict(origin)})
        write_weights(aside / "checkpoints", variables)
        directory.write_summary({"status": "converted", "step": 0})
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()
        aside.rename(folder)
    except OSError as error:
        raise DataError(f"cannot write '{folder}': {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
