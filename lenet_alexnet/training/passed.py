"""Networks, data and callbacks that a program passes to training as objects.

A run's config.json then names the object's class in place of what the config said.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet.config.checks import plain
from lenet_alexnet.data import Dataset
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.runs.metrics import Callback

MARK = "passed object "  # and the name of its class
SPLITS = ("train", "validation", "test")


class Passed(NamedTuple):
    """The objects of a run.

    Attributes:
      model: replaces the network that the config describes.
      read: (config, split) -> its data; replaces `builders.load`.
      callbacks: called with each line of metrics.jsonl, by the process that writes it.
    """

    model: nn.Module | None = None
    read: Callable[[Any, str], Dataset] | None = None
    callbacks: Sequence[Callback] = ()


NONE = Passed()


def take(
    config: ConfigDict,
    model: nn.Module | None = None,
    data: Mapping[str, Dataset] | None = None,
    callbacks: Sequence[Callback] = (),
) -> tuple[ConfigDict, Passed]:
    """A config that names the objects, and the objects.

    Args:
      config: of the run; it stays as it is.
      model: a linen module with `input_shape` and `num_classes`.
      data: "train" and, if wanted, "validation" and "test".
      callbacks: see `Passed`.

    Raises:
      UsageError: an object lacks what the training needs of it.
    """
    config = ConfigDict(config.to_dict())
    if model is not None:
        if config.train.precision != "float32":
            raise UsageError("train.precision has no effect on a passed model: set its own dtype")
        config.model = describe_model(model)
    if data is not None:
        _describe_data(config.data, data)
    read = None if data is None else lambda _, split: data[split]
    return config.lock(), Passed(model, read, tuple(map(_unguarded, callbacks)))


def is_object(name: str) -> bool:
    """Whether a name in a config is that of an object which was passed."""
    return isinstance(name, str) and name.startswith(MARK)


def refuse(name: str, what: str) -> None:
    """Raises UsageError if a name in a config is that of an object; `what`: model or data."""
    if is_object(name):
        raise UsageError(
            f"the run's {what} was a {name}, which its config.json does not describe: pass it, "
            f"with load(..., model=...) or train(..., {what}=...) of the library"
        )


def checked(config: Any, model: nn.Module, where: Path) -> nn.Module:
    """The model; UsageError unless the run at `where` was given an equal one as an object."""
    if not is_object(config.model.name):
        raise UsageError(f"'{where}' describes its network itself: load it without model")
    if changed := configs.differences(config.model.to_dict(), describe_model(model)):
        raise UsageError(f"'{where}' was trained with another model ({'; '.join(changed)})")
    return model


def describe_model(model: nn.Module) -> dict[str, Any]:
    """The class, and the options that are numbers and texts: a run resumes with equal ones."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"model is a {type(model).__name__}, not an instance of a linen module")
    for attribute in ("input_shape", "num_classes"):
        if not hasattr(model, attribute):
            raise UsageError(f"model {type(model).__name__} has no attribute {attribute}")
    fields = {field.name for field in dataclasses.fields(model)} - {"parent", "name"}
    options = {name: getattr(model, name) for name in sorted(fields)}
    options = {name: value for name, value in options.items() if plain(value)}
    return {"name": f"{MARK}{type(model).__name__}", **options}


def _unguarded(callback: Callback) -> Callback:
    """A callback may move arrays between host and devices, which the loop itself must not."""

    def call(row: dict[str, Any]) -> None:
        with jax.transfer_guard("allow"):
            callback(row)

    return call


def _describe_data(section: ConfigDict, data: Mapping[str, Dataset]) -> None:
    for name, split in data.items():
        if name not in SPLITS:
            raise UsageError(f"data has the unknown split '{name}': {nearest(name, SPLITS)}")
        if not isinstance(split, Dataset):
            kind = type(split).__name__
            raise UsageError(f"data '{name}' is a {kind}, not a Dataset (lenet_alexnet/data)")
    if "train" not in data:
        raise UsageError("data has no split 'train'")
    height, width, channels = data["train"].image_shape
    if height != width or channels not in (1, 3):
        raise UsageError(f"data has images of {height}x{width}x{channels}, not squares of 1 or 3")
    for name, split in data.items():
        if split.image_shape != data["train"].image_shape:
            raise UsageError(f"data '{name}' has images of another shape than data 'train'")
    section.update(source=f"{MARK}{type(data['train']).__name__}", name="", data_dir="")
    section.update(image_size=height, channels=channels)
    section.update({name: name if name in data else "" for name in SPLITS})
