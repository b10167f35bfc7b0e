"""A run that starts from the weights of another one, or of a file: `train.init_from`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from lenet_alexnet.config.checks import check_needed
from lenet_alexnet.config.options import setting
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.models import Network1998, layer_names
from lenet_alexnet.runs import integrity
from lenet_alexnet.runs.checkpoints import Checkpoints, best_or_last
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.runtime.console import say
from lenet_alexnet.runtime.storage import expand
from lenet_alexnet.training.experiment import Experiment
from lenet_alexnet.training.state import TrainState
from lenet_alexnet.weights import files, names, ours

Leaves = dict[str, np.ndarray]  # by collection, layer and name: "params/conv1/kernel"


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """The weights that a run starts from.

    Attributes:
      variables: by collection and layer, on the host; without the head if it is drawn again.
      record: for run.json: the path, the step (None for a file), a checksum of all weights there.
      note: a line to report.
    """

    variables: dict[str, dict[str, Any]]
    record: dict[str, Any]
    note: str

    def apply(self, state: TrainState, put: Callable[[np.ndarray, Any], Any]) -> TrainState:
        """A fresh state with these weights, see `begin`."""

        def changed(collection: str, tree: Any) -> Any:
            new = self.variables.get(collection, {})
            return {
                layer: jax.tree.map(put, new[layer], leaves) if layer in new else leaves
                for layer, leaves in tree.items()
            }

        average = None if state.average is None else changed("params", state.average)
        return state.replace(
            params=changed("params", state.params),
            batch_stats=changed("batch_stats", state.batch_stats),
            average=average,
        )


def begin(
    start: WarmStart | None, state: TrainState, put: Callable[[np.ndarray, Any], Any]
) -> TrainState:
    """A fresh state with the weights of a start, if there is one, which is reported.

    `put` places an array in place of one of the state.
    """
    if start is None:
        return state
    say(start.note)
    return start.apply(state, put)


def resume(folders: Sequence[Path]) -> bool:
    """Whether runs have checkpoints of one step: then they resume and need no other weights."""
    saved = ({one.step for one in integrity.saved(folder / "checkpoints")} for folder in folders)
    return bool(set.intersection(*saved))


def fact(start: WarmStart | None) -> dict[str, Any]:
    """The entry of run.json; {} without other weights."""
    return {"init_from": start.record} if start else {}


def read(config: Any, experiment: Experiment) -> WarmStart | None:
    """The weights that `train.init_from` names; None if it is empty.

    The head, the last layer, is left out if its number of classes differs.

    Raises:
      UsageError: nothing is there, or a layer does not fit.
      DataError: there is no checkpoint, or none that can be read, or weights are not finite.
    """
    path = setting(config, "train.init_from")
    if not path:
        return None
    place, model = expand(path), experiment.model
    if place.is_dir():
        step, leaves = _of_run(place, path, experiment.layout.replicated)
    else:
        step, leaves = None, _of_file(place, path, model)
    for name, leaf in leaves.items():
        if not np.isfinite(leaf).all():
            raise DataError(f"train.init_from '{path}': {name} has values that are not finite")
    head = _check(path, leaves, model)
    variables: dict[str, dict[str, Any]] = {}
    for name, leaf in leaves.items():
        collection, layer, last = name.split("/")
        if layer != head:
            variables.setdefault(collection, {}).setdefault(layer, {})[last] = leaf
    note = f"starting from {path}" + ("" if step is None else f", step {step:,}")
    if head:
        there = leaves[f"params/{head}/kernel"].shape[-1]
        note += f"; {head} is drawn at random: {there} classes there"
        note += f", {model.num_classes} here"
    record = {"path": path, "step": step, "sha256": ours.checksum(leaves)}
    return WarmStart(variables=variables, record=record, note=note)


def _of_run(folder: Path, path: str, where: Any) -> tuple[int, Leaves]:
    """The step and the weights of a run's best or last checkpoint."""
    saved = folder / "checkpoints"
    try:
        content = read_json(folder / "config.json", "data", data=dict)
        check_needed(content, f"'{folder / 'config.json'}'", "data")
        which = best_or_last(content["data"])
        if not saved.is_dir():
            raise DataError(f"'{path}' has no checkpoints yet")
        with Checkpoints(saved, read_only=True) as checkpoints:
            step = checkpoints.first_whole(which)
            if step is None:
                raise DataError(f"'{path}' has no {which} checkpoint yet")
            there = integrity.arrays(saved / str(step) / "variables")
            template = {name: _abstract(text, where) for name, text in there.items()}
            found = checkpoints.restore_variables(step, unflatten_dict(template, sep="."))
    except (UsageError, DataError) as error:
        raise type(error)(f"train.init_from: {error}") from error
    return step, {name: np.asarray(leaf) for name, leaf in names.flatten(found).items()}


def _of_file(file: Path, path: str, model: nn.Module) -> Leaves:
    """The weights in a file, for this network, also if it has another number of classes."""
    if not file.exists():
        raise UsageError(f"train.init_from '{path}': there is no such run or file")
    try:
        found = files.read(file)
        ours.metadata(found)  # It raises for a file of ours that is damaged.
        if not isinstance(model, Network1998):  # These have ten classes.
            model = model.clone(num_classes=names.num_classes(found))
        variables = names.to_variables(found, model, _shapes(model))
    except (UsageError, DataError) as error:
        raise type(error)(f"train.init_from: {error}") from error
    return names.flatten(variables)


def _shapes(model: nn.Module) -> Any:
    """The shapes of a network's variables."""
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *model.input_shape)))


def _abstract(text: str, where: Any) -> jax.ShapeDtypeStruct:
    """The array that `integrity.arrays` describes as "float32[6]", on the devices of `where`."""
    kind, bracket, sizes = text.partition("[")
    return jax.ShapeDtypeStruct(json.loads(bracket + sizes), kind, sharding=where)


def _check(path: str, leaves: Leaves, model: nn.Module) -> str:
    """The head if its number of classes differs, else ""; UsageError if another layer differs."""
    here = {name: leaf.shape for name, leaf in names.flatten(_shapes(model)).items()}
    there = {name: leaf.shape for name, leaf in leaves.items()}
    layers = layer_names(model)

    def place(name: str) -> tuple[int, str]:
        layer = _parts(name)[0]
        return layers.index(layer) if layer in layers else len(layers), name

    head = [name for name in here if _parts(name)[0] == layers[-1]]
    redrawn = all(
        name in there
        and there[name][:-1] == here[name][:-1]
        and there[name][-1] != here[name][-1] == model.num_classes
        for name in head
    )
    differ = {name for name in here.keys() | there.keys() if here.get(name) != there.get(name)}
    if wrong := differ - set(head if redrawn else ()):
        first = min(wrong, key=place)
        a, b = (list(shapes[first]) if first in shapes else "absent" for shapes in (there, here))
        layer, last = _parts(first)
        raise UsageError(f"train.init_from '{path}': {layer}'s {last} is {a} there, {b} here")
    return layers[-1] if redrawn else ""


def _parts(name: str) -> tuple[str, str]:
    """The layer and the parameter of "params/conv1/kernel"."""
    layer, _, last = name.partition("/")[2].partition("/")
    return layer, last
