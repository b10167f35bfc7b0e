"""Opens a run for use: its network, parameters and class names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet.config.checks import check_needed, check_ranges, check_validation
from lenet_alexnet.data import Dataset
from lenet_alexnet.data.class_names import check_same
from lenet_alexnet.data.preprocess import statistics
from lenet_alexnet.data.preprocess.digits import Preprocess
from lenet_alexnet.data.preprocess.statistics import Statistics
from lenet_alexnet.errors import DataError, LenetAlexnetError, UsageError
from lenet_alexnet.runs.checkpoints import Checkpoints, best_or_last
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.training import conv_form, passed
from lenet_alexnet.training.builders import (
    build_model,
    build_preprocess,
    load,
    load_photo_statistics,
)


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A trained network with what its use needs; `card` is that of a file, see `card.make`."""

    config: ConfigDict
    model: nn.Module
    preprocess: Preprocess
    statistics: Statistics | None  # of the training photos
    class_names: tuple[str, ...]
    variables: Any
    step: int
    chosen: str  # "best" or "last"
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def output_names(self) -> tuple[str, ...]:
        """A name for each output of the network; there may be more outputs than classes."""
        known = self.class_names
        return (*known, *(f"#{i}" for i in range(len(known), self.model.num_classes)))


def open_run(
    workdir: Path,
    checkpoint: str = "auto",
    data_dir: str = "",
    *,
    model: nn.Module | None = None,
) -> TrainedRun:
    """Opens a run's folder at its best or last checkpoint; its data is not needed.

    (Runs of old versions did not keep their photos' statistics: these need the data.)

    Args:
      workdir: a run's folder.
      checkpoint: best | last | auto, see `evaluate.evaluate_workdirs`.
      data_dir: where its data is now, if it was moved.
      model: the network, if the run was given it as an object.

    Raises:
      UsageError: no run there, or not of this model.
      DataError: no checkpoint, or none that can be read.
    """
    config = _read_config(Path(workdir) / "config.json")
    folder = Path(workdir) / "checkpoints"
    if not folder.is_dir():
        raise DataError(f"'{workdir}' has no checkpoints yet")
    kept, begun = Path(workdir) / statistics.FILE, _read_run(Path(workdir) / "run.json")
    try:
        if data_dir:
            config.data.data_dir = data_dir
        model = passed.checked(config, model, workdir) if model else _network(config, begun)
        found = statistics.load(kept) if kept.exists() else load_photo_statistics(config)
        preprocess = build_preprocess(config, statistics=found)
        image = jnp.zeros((1, *model.input_shape))
        template = jax.eval_shape(model.init, jax.random.key(0), image)
    except LenetAlexnetError:
        raise
    except Exception as error:  # Each layer raises another error for an impossible value.
        line = " ".join(str(error).split())[:200]
        raise UsageError(f"'{workdir}/config.json' describes no run: {line}") from error
    if checkpoint == "auto":
        checkpoint = best_or_last(config.data)
    if checkpoint == "best":
        check_validation(config, f"the best checkpoint of '{workdir}'")
    with Checkpoints(folder, read_only=True) as checkpoints:
        step = checkpoints.first_whole(checkpoint)
        if step is None:
            raise DataError(f"'{workdir}' has no {checkpoint} checkpoint yet")
        variables = checkpoints.restore_variables(step, template)
    return TrainedRun(
        config=config,
        model=model,
        preprocess=preprocess,
        statistics=found,
        class_names=tuple(begun["class_names"]),
        variables=variables,
        step=step,
        chosen=checkpoint,
    )


def _read_config(path: Path) -> ConfigDict:
    """A run's config.json; UsageError if it lacks an entry that the use of the run needs."""
    content = read_json(path, "model", "data", "train", model=dict, data=dict, train=dict)
    check_needed(content, f"'{path}'", "data", "train", "eval")
    check_ranges(configs.flatten(content))
    return ConfigDict(content)


def _network(config: ConfigDict, begun: Mapping[str, Any]) -> nn.Module:
    """The network in the form in which it was trained here."""
    return build_model(config, conv_form.of_run(begun))


def _read_run(path: Path) -> dict[str, Any]:
    """A run's run.json; UsageError if its names are not those of the classes of its data."""
    record = read_json(path, "class_names", class_names=list, data=dict, conv_form=str)
    names, data = record["class_names"], (record.get("data") or {}).get("train")
    classes = data.get("classes") if isinstance(data, dict) else len(names)
    if len(names) != classes or not all(isinstance(name, str) for name in names):
        raise UsageError(f"cannot read '{path}': 'class_names' are not those of {classes} classes")
    return record


def load_named(run: TrainedRun, split: str) -> Dataset:
    """The run's train, validation or test split.

    Raises:
      UsageError: no such split. DataError: broken data, or data of other classes than the run's.
    """
    check_split(run.config, split)
    data = load(run.config, run.config.data[split])
    check_same(data.class_names, run.class_names, f"split '{split}'", "the run")
    return data


def check_split(config: Any, split: str) -> None:
    """Raises UsageError if a run has no such split."""
    if split not in ("train", "validation", "test") or not config.data[split]:
        known = [name for name in ("train", "validation", "test") if config.data[name]]
        raise UsageError(f"the run has no split '{split}': known: {', '.join(known)}")
