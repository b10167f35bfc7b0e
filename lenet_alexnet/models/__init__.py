"""The networks, and the factory that builds them from a config's `model` section."""

import inspect
from collections.abc import Collection
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lenet_alexnet import ops
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.models.alexnet.variants import TWO_TOWERS, VARIANTS
from lenet_alexnet.models.cifar import ConvNet
from lenet_alexnet.models.cuda_convnet import CUDA_CONVNETS, CudaConvNet
from lenet_alexnet.models.lenet import ACTIVATIONS, LeNet5
from lenet_alexnet.models.lenet_1998.network import LeNet1, LeNet5_1998, Network1998
from lenet_alexnet.models.mlp import MLP1998
from lenet_alexnet.ops import CONV_FORMS

__all__ = ["MODELS", "Network1998", "create_model", "features", "layer_names", "published"]

MODELS: dict[str, type[nn.Module]] = {
    "lenet5": LeNet5,
    "lenet5_1998": LeNet5_1998,
    "lenet1": LeNet1,
    "mlp_1998": MLP1998,
    "alexnet": AlexNet,
    "convnet": ConvNet,
    "cuda_convnet": CudaConvNet,
}
# The networks with variants; the first variant is the default.
VARIANTS_OF: dict[str, dict[str, dict[str, Any]]] = {
    "alexnet": VARIANTS,
    "cuda_convnet": CUDA_CONVNETS,
}
CHOICES: dict[str, Collection[str]] = {
    "activation": ACTIVATIONS,
    "bias_init": ("weights", "zero"),
    "lrn": ("none", "paper", "source", "caffe"),
    "lrn_place": ("after_relu", "first_before_relu", "after_pool"),
    "pool": ("3/2", "2/2"),
    "pooling": ("average", "2/2", "3/2"),
    "conv_form": CONV_FORMS,
    "dropout_form": ("mask", "inverted"),
    "dropout_place": ("after", "before"),
}
# The options of AlexNet that change its counts.
COUNTED = (
    "num_classes",
    "channels",
    "towers",
    "widths",
    "dense_width",
    "conv6",
    "pool",
    "batch_norm",
    "conv1_padding",
)
HIDDEN = {"name", "parent", "dtype", "axes", "frozen"}  # not options of a config
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def create_model(*, name: str, precision: str = "float32", **options: Any) -> nn.Module:
    """Builds a network from its name and options (`activation`, `num_classes`, ...).

    "alexnet" and "cuda_convnet" have a `variant` (paper, source2012, caffe ...:
    `alexnet/variants.py`; 19pct, 13pct ...: `cuda_convnet.py`); each other option changes one of
    its switches.

    `precision` is the dtype of the activations; parameters and outputs stay float32.

    Raises:
      UsageError: an unknown name, option or value, with the nearest valid one.
    """
    if name not in MODELS:
        raise UsageError(f"unknown model.name '{name}': {nearest(name, MODELS)}")
    if precision not in DTYPES:
        raise UsageError(f"unknown precision '{precision}': {nearest(precision, DTYPES)}")
    if variants := VARIANTS_OF.get(name):
        variant = options.pop("variant", next(iter(variants)))
        if variant not in variants:
            raise UsageError(f"unknown model.variant '{variant}': {nearest(variant, variants)}")
        options = variants[variant] | options
    known = set(inspect.signature(MODELS[name]).parameters) - HIDDEN
    for option in options.keys() - known:
        raise UsageError(f"model '{name}' has no option '{option}': {nearest(option, known)}")
    for option, values in CHOICES.items():
        if option in options and options[option] not in values:
            wrong = options[option]
            raise UsageError(f"unknown model.{option} '{wrong}': {nearest(wrong, values)}")
    # A config read from a file has lists in place of tuples.
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    model = MODELS[name](dtype=DTYPES[precision], **options)
    if isinstance(model, AlexNet | CudaConvNet):
        model.check()
    return model


def defaults(name: str, variant: str = "") -> dict[str, Any]:
    """The options of a network, or of one of its variants, with their default values.

    {} for an unknown name.
    """
    if name not in MODELS:
        return {}
    given = inspect.signature(MODELS[name]).parameters
    options = {key: value.default for key, value in given.items() if key not in HIDDEN}
    if variants := VARIANTS_OF.get(name):
        variant = variant or next(iter(variants))
        options |= {"variant": variant} | variants.get(variant, {})
    return options


def layer_names(model: nn.Module) -> tuple[str, ...]:
    """The names of the layers with parameters, from the input up."""
    names: dict[str, None] = {}

    def record(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        out = call(*arguments, **keywords)
        layer = context.module
        if context.method_name == "__call__" and len(layer.path) == 1:
            names.update({layer.name: None} if layer.variables.get("params") else {})
        return out

    with nn.intercept_methods(record):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *model.input_shape)))
    return tuple(names)


def published(model: nn.Module) -> dict[str, dict[str, int]]:
    """The counts given in the papers (LeNet) or by their sizes (AlexNet), by layer and in total.

    {} for a variant that no paper counts.
    """
    if isinstance(model, LeNet5_1998):
        return {"total": {"params": 60_000, "connections": 340_908}}  # LeCun et al. 1998, p. 8
    if isinstance(model, LeNet1):
        return {"total": {"params": 2_578, "connections": 98_442}}
    if not isinstance(model, AlexNet) or model.image_size not in (224, 227):
        return {}
    if any(getattr(model, name) != getattr(AlexNet, name) for name in COUNTED):
        return {}
    layers = {
        name: {"params": params, "multiply_adds": multiply_adds}
        for name, (params, multiply_adds) in TWO_TOWERS.items()
    }
    totals = {
        column: sum(layer[column] for layer in layers.values())
        for column in ("params", "multiply_adds")
    }
    return {**layers, "total": totals}


def features(
    model: nn.Module, params: Any, images: jax.Array, *, batch_stats: Any = None
) -> dict[str, jax.Array]:
    """The output of every layer for normalised images, by the layer's name in the paper.

    `batch_stats` are the averages of a network with batch normalisation.
    """
    variables = {"params": params} | ({"batch_stats": batch_stats} if batch_stats else {})
    _, state = model.apply(variables, images, capture_intermediates=True)
    captured = state["intermediates"]
    outputs = {name: value["__call__"][0] for name, value in captured.items() if name != "__call__"}
    return {name: _together(value) for name, value in outputs.items()}


def _together(value: Any) -> jax.Array:
    """The towers' maps or units in one array, maps as [b, h, w, c]."""
    towers = value if isinstance(value, list) else [value]
    return jnp.concatenate([ops.nhwc(x) for x in towers], axis=-1)
