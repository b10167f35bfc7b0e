"""`train`: a run from a program, also with networks, data and callbacks of its own."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet.config import own_photos
from lenet_alexnet.data import Dataset
from lenet_alexnet.runtime.console import say
from lenet_alexnet.training import passed
from lenet_alexnet.training.loop import train_and_evaluate


def train(
    config: ConfigDict | str | Path,
    workdir: str | Path,
    *,
    model: nn.Module | None = None,
    data: Mapping[str, Dataset] | None = None,
    callbacks: Sequence[Callable[[dict[str, Any]], None]] = (),
) -> dict[str, Any]:
    """Trains, evaluates and saves a run as `lenet-alexnet train` does; resumes one that stopped.

    Args:
      config: of the run: a ConfigDict, or a config file.
      workdir: the run's folder.
      model: a linen module in place of the config's: `input_shape` (h, w, c), `num_classes`, and
        `__call__(inputs)` -> logits [b, num_classes]. In training it gets a stream of random
        numbers "dropout", and its collection "batch_stats" may change.
      data: by split, "train" and, if wanted, "validation" and "test", in place of the config's:
        each a `Dataset`, such as `InMemory(images, labels, class_names)`.
      callbacks: each is called with every line of metrics.jsonl once it is written. One that
        raises an error ends the run.

    A run that was given objects resumes with equal ones: config.json has the class of each, and
    the model's options; run.json has a hash of the data.

    Returns the summary, as in summary.json.

    Raises:
      UsageError: an object lacks what is needed, or `workdir` holds another run.
      Diverged: the loss or a parameter became NaN or infinite.
    """
    if not isinstance(config, ConfigDict):
        config = configs.load(str(config)).get_config()
    config, objects = passed.take(config, model, data, callbacks)
    for line in own_photos.resolve(config):
        say(line)
    return train_and_evaluate(config, Path(workdir), objects=objects)
