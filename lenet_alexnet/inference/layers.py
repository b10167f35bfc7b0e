"""The outputs of a network's layers by name, also by torchvision's names of AlexNet's layers."""

from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet import models, ops
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.models import Network1998
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.models.layers import identity
from lenet_alexnet.weights.names import LAST, TORCHVISION

POOLS = {"features.2": "pool1", "features.5": "pool2", "features.12": "pool5"}
LINEAR = " before its activation"


def names(model: nn.Module) -> list[str]:
    """The names of the layers in the papers."""
    image = jnp.zeros((1, *model.input_shape))
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    return list(jax.eval_shape(lambda v: outputs(model, v, image), variables))


def aliases(model: nn.Module) -> dict[str, str]:
    """The names in torchvision of a network's layers -> ours; {} if it is not there.

    There a layer and its activation are two: features.0 is conv1 before its activation, features.1
    is conv1.
    """
    if not isinstance(model, AlexNet) or model.towers > 1 or model.lrn != "none":
        return {}
    if model.batch_norm or model.conv6:
        return {}
    found = dict(POOLS)
    for layer, name in TORCHVISION.items():
        part, _, place = name.partition(".")
        found |= (
            {name: layer}
            if layer == LAST
            else {name: layer + LINEAR, f"{part}.{int(place) + 1}": layer}
        )
    return found


def check(model: nn.Module, wanted: Iterable[str]) -> None:
    """Raises UsageError for the first name that no layer has, with the nearest one."""
    known = [*names(model), *aliases(model)]
    for name in wanted:
        if name not in known:
            raise UsageError(f"unknown layer '{name}': {nearest(name, known)}")


def outputs(
    model: nn.Module, variables: Any, inputs: Float[Array, "b h w c"], wanted: Iterable[str] = ()
) -> dict[str, Array]:
    """The outputs [b, h, w, c] or [b, n] of layers for normalised images.

    Args:
      model: the network.
      variables: its parameters and, if it has them, averages of batch normalisation.
      inputs: normalised images.
      wanted: names of layers, ours or torchvision's; (): ours of all layers.

    A layer's output is after its activation, except for torchvision's names (see `aliases`).
    """
    others = aliases(model)
    meant = {name: others.get(name, name) for name in wanted}
    before = {name.removesuffix(LINEAR) for name in meant.values() if name.endswith(LINEAR)}
    calls: dict[str, tuple[nn.Module, Any]] = {}

    def note(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        layer = context.module
        if layer.name in before and context.method_name == "__call__":
            calls[layer.name] = layer.clone(activation=identity, parent=None), arguments
        return call(*arguments, **keywords)

    with nn.intercept_methods(note):
        found = models.features(
            model, variables["params"], inputs, batch_stats=variables.get("batch_stats")
        )
    if isinstance(model, Network1998):  # Its maps are channel first.
        found = {n: jnp.moveaxis(v, 1, -1) if v.ndim == 4 else v for n, v in found.items()}
    for name, (layer, arguments) in calls.items():
        towers: Any = layer.apply({"params": variables["params"][name]}, *arguments)
        found[name + LINEAR] = ops.nhwc(towers[0])  # torchvision's has one tower
    return {name: found[ours] for name, ours in meant.items()} if meant else found
