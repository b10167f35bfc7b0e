"""A finished (or stopped) run, opened to be used: its network, parameters and class names."""

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lenet_alexnet.checkpoint import Checkpoints
from lenet_alexnet.data import Split
from lenet_alexnet.data.augment import Preprocess
from lenet_alexnet.data.stream import Photos
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.record import read_json


class Run(NamedTuple):
    """What is needed to use a trained network."""

    config: ConfigDict
    model: nn.Module
    preprocess: Preprocess
    class_names: tuple[str, ...]
    variables: Any
    step: int
    chosen: str  # "best" or "last"


def open_run(workdir: Path, checkpoint: str = "auto") -> Run:
    """Opens a run's folder at its best or last checkpoint.

    Raises:
      UsageError: no run there. DataError: no checkpoint, or none that can be read.
    """
    from lenet_alexnet.experiment import build_model, build_preprocess

    config = ConfigDict(read_json(Path(workdir) / "config.json", "model", "data", "train"))
    folder = Path(workdir) / "checkpoints"
    if not folder.is_dir():
        raise DataError(f"'{workdir}' has no checkpoints yet")
    try:
        model = build_model(config)
        preprocess = build_preprocess(config)
    except (AttributeError, TypeError) as error:
        raise UsageError(f"'{workdir}/config.json' describes no run: {error}") from error
    template = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *model.input_shape)))
    if checkpoint == "auto":
        checkpoint = "best" if config.data.validation else "last"
    with Checkpoints(folder, read_only=True) as checkpoints:
        step = checkpoints.first_whole(checkpoint)
        if step is None:
            raise DataError(f"'{workdir}' has no {checkpoint} checkpoint yet")
        variables = checkpoints.restore_variables(step, template)
    names = tuple(read_json(Path(workdir) / "run.json", "class_names")["class_names"])
    return Run(config, model, preprocess, names, variables, step, checkpoint)


def load_named(config: Any, split: str, data_dir: str = "") -> Split | Photos:
    """The run's train, validation or test split."""
    from lenet_alexnet.experiment import load

    if data_dir:
        config.data.data_dir = data_dir
    if split not in ("train", "validation", "test") or not config.data[split]:
        known = [name for name in ("train", "validation", "test") if config.data[name]]
        raise UsageError(f"the run has no split '{split}': known: {', '.join(known)}")
    return load(config, config.data[split])
