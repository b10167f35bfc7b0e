"""What the use of weights needs besides the weights, and the network built from both."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet.config.checks import check_needed, check_ranges
from lenet_alexnet.data.preprocess.digits import Preprocess
from lenet_alexnet.data.preprocess.statistics import Statistics
from lenet_alexnet.errors import DataError, LenetAlexnetError, UsageError
from lenet_alexnet.training.builders import build_model, build_preprocess
from lenet_alexnet.weights import names
from lenet_alexnet.weights.weight_file import WeightFile

STATISTICS = "statistics/"  # the prefix of their arrays in our files


class Recipe(NamedTuple):
    """What the use of a network's weights needs.

    Attributes:
      config: of a run, with its sections `model`, `data`, `eval` and `train.loss`.
      class_names: of the outputs.
      statistics: of the training photos, if the preprocessing subtracts their mean image.
    """

    config: ConfigDict
    class_names: tuple[str, ...]
    statistics: Statistics | None


class Built(NamedTuple):
    """A network with its preprocessing, and its variables as arrays of NumPy."""

    model: nn.Module
    preprocess: Preprocess
    variables: dict[str, Any]


def of_ours(file: WeightFile, metadata: Mapping[str, Any]) -> Recipe:
    """The recipe in a file that `as_metadata` describes.

    Raises:
      DataError: an entry is missing or has no valid content.
    """
    where = f"the metadata of '{file.path}'"
    try:
        config = not_trained(photos="photo" in metadata["data"])
        content = config.to_dict()
        content |= {key: metadata[key] for key in ("model", "data", "eval")}
        content["train"]["loss"] = metadata["loss"]
        class_names = tuple(str(name) for name in metadata["class_names"])
        check_needed(content, where, "data", "train", "eval")
        check_ranges(configs.flatten(content))
        statistics = _statistics(file)
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        reason = f"no '{error.args[0]}'" if isinstance(error, KeyError) else error
        raise DataError(f"{where} are not valid: {reason}") from error
    return Recipe(ConfigDict(content), class_names, statistics)


def as_metadata(recipe: Recipe) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The metadata and the arrays besides the weights of our file, see `ours.write`."""
    config = recipe.config
    data = config.data.to_dict() | {"data_dir": ""}
    metadata = {
        "model": config.model.to_dict(),
        "data": data,
        "eval": config.eval.to_dict(),
        "loss": config.train.loss.to_dict(),
        "class_names": list(recipe.class_names),
    }
    fields = recipe.statistics._asdict() if recipe.statistics is not None else {}
    return metadata, {f"{STATISTICS}{key}": np.asarray(value) for key, value in fields.items()}


def build(file: WeightFile, recipe: Recipe) -> Built:
    """The network of a recipe with a file's weights.

    Raises:
      DataError: the recipe describes no network, its images do not fit it, or the weights do not.
      UsageError: the number of class names is not that of the outputs.
    """
    config = recipe.config
    try:
        model = build_model(config)
        preprocess = build_preprocess(config, statistics=recipe.statistics)
        data = config.data
        images = jnp.zeros((1, data.image_size, data.image_size, data.channels), jnp.uint8)
        inputs = jax.eval_shape(preprocess, images)
        template = jax.eval_shape(model.init, jax.random.key(0), inputs)
    except LenetAlexnetError:
        raise
    except Exception as error:  # Each layer raises another error for an impossible value.
        line = " ".join(str(error).split())[:200]
        raise DataError(f"'{file.path}' describes no network of ours: {line}") from error
    if inputs.shape[1:] != model.input_shape:
        raise DataError(f"'{file.path}' describes images that do not fit its network")
    if len(recipe.class_names) != model.num_classes:
        raise UsageError(
            f"{len(recipe.class_names)} class names for {model.num_classes} outputs of "
            f"'{file.path}'"
        )
    return Built(model, preprocess, names.to_variables(file, model, template))


def not_trained(*, photos: bool) -> ConfigDict:
    """A config without a network, whose entries that only training uses mean nothing."""
    config = (configs.photos() if photos else configs.base()).unlock()
    config.model = {}
    config.optimizer = {"name": "sgd", "learning_rate": 0.01, "schedule": {"name": "constant"}}
    return config


def _statistics(file: WeightFile) -> Statistics | None:
    found = {
        key: file.arrays[STATISTICS + key]
        for key in Statistics._fields
        if STATISTICS + key in file.arrays
    }
    if not found:
        return None
    if len(found) != len(Statistics._fields):
        raise ValueError("only some of the statistics")
    return Statistics(**{**found, "images": int(found["images"])})  # type: ignore[arg-type]
