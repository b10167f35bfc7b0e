"""The names of a network's weights: ours, torchvision's, Caffe's and those of .npz conversions.

| style | conv2's kernel | layout | first convolution |
|---|---|---|---|
| ours | params/conv2/kernel | ours | RGB |
| torchvision | features.3.weight | torch's | RGB |
| caffe | conv2.0 | torch's | BGR |
| caffe-npy | conv2/weights | TensorFlow's | BGR |

Only AlexNet, without batch normalisation and without a sixth convolution, has the names of others.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import numpy as np

from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.weights import layouts
from lenet_alexnet.weights.weight_file import WeightFile

Style = Literal["ours", "torchvision", "caffe", "caffe-npy"]
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
FIRST, FLAT, LAST = "conv1", "fc6", "fc8"
FEATURES, CLASSIFIER = (0, 3, 6, 8, 10), (1, 4, 6)  # torchvision's places of layers with weights
PLACES = [f"features.{i}" for i in FEATURES] + [f"classifier.{i}" for i in CLASSIFIER]
TORCHVISION = dict(zip(LAYERS, PLACES, strict=True))
COLLECTIONS = ("params", "batch_stats")


class Weight(NamedTuple):
    """One array of AlexNet, and what it is in a style."""

    layer: str
    parameter: str  # kernel or bias
    name: str  # in the style
    kind: layouts.Kind


def style_of(arrays: Mapping[str, Any]) -> Style | None:
    """The style of a file's names; None if it is none of these."""
    if any(name.startswith("params/") for name in arrays):
        return "ours"
    if any(name.startswith(("features.", "classifier.")) for name in map(plain, arrays)):
        return "torchvision"
    if any(name.endswith("/weights") for name in arrays):
        return "caffe-npy"
    return "caffe" if any(name.endswith(".0") for name in arrays) else None


def plain(name: str) -> str:
    """A name of torch without what `DataParallel` puts into it."""
    return name.removeprefix("module.").replace(".module.", ".")


def weights_of(style: Style) -> list[Weight]:
    """AlexNet's arrays in order, with their names in a style other than ours."""
    found = []
    for layer in LAYERS:
        for i, parameter in enumerate(("kernel", "bias")):
            name = {
                "torchvision": f"{TORCHVISION[layer]}.{('weight', 'bias')[i]}",
                "caffe": f"{layer}.{i}",
                "caffe-npy": f"{layer}/{('weights', 'biases')[i]}",
            }[style]
            found.append(Weight(layer, parameter, name, layouts.kind_of(layer, LAST, parameter)))
    return found


def check_expressible(model: nn.Module, style: str) -> None:
    """Raises UsageError if a network has layers that a style has no names for."""
    if style == "ours":
        return
    if not isinstance(model, AlexNet):
        raise UsageError(f"{type(model).__name__} has no {style} names: only AlexNet has")
    for option, layer in (("batch_norm", "bn1"), ("conv6", "conv6")):
        if getattr(model, option):
            raise UsageError(f"{style} has no name for {layer} (model.{option})")


def named(file: WeightFile) -> tuple[Style, dict[str, np.ndarray]]:
    """The style of a file and its arrays that are weights; DataError if it has no style."""
    style = style_of(file.arrays)
    if style is None:
        raise DataError(f"'{file.path}' has weights of unknown names ({few(file.arrays)})")
    arrays = dict(file.arrays)
    if style == "torchvision":
        arrays = {plain(name): array for name, array in arrays.items()}
    if style == "ours":
        arrays = {k: v for k, v in arrays.items() if k.partition("/")[0] in COLLECTIONS}
    return style, arrays


def num_classes(file: WeightFile) -> int:
    """The number of outputs of the network whose weights these are.

    Raises:
      DataError: it has no output layer.
    """
    style, arrays = named(file)
    last = {
        "ours": ("params/fc8/bias", "params/output/bias", "params/fc10/bias"),
        "torchvision": ("classifier.6.bias",),
        "caffe": ("fc8.1",),
        "caffe-npy": ("fc8/biases",),
    }[style]
    found = [name for name in last if name in arrays and arrays[name].ndim == 1]
    if not found:
        raise DataError(f"'{file.path}' has no {last[0]} (it has {few(arrays)})")
    return len(arrays[found[0]])


def to_variables(file: WeightFile, model: nn.Module, template: Any) -> dict[str, Any]:
    """A file's weights as the variables of a network, float32 in numpy.

    Args:
      file: what `files.read` returns.
      model: the network.
      template: the result of `jax.eval_shape(model.init, ...)`, or variables.

    Raises:
      UsageError: the network has layers that the file's style has no names for.
      DataError: an array is missing, one too many, of another shape (the first such layer is
        named, with both shapes), or not finite.
    """
    style, arrays = named(file)
    check_expressible(model, style)
    if style == "ours":
        return _nest(_checked(file, arrays, {k: v.shape for k, v in flatten(template).items()}))
    params, in_torch = template["params"], style != "caffe-npy"
    wanted = {
        w.name: layouts.shape_elsewhere(
            w.kind, tuple(params[w.layer][w.parameter].shape), torch=in_torch
        )
        for w in weights_of(style)
    }
    arrays = _checked(file, arrays, wanted)
    maps = _maps(params)
    found: dict[str, Any] = {}
    for w in weights_of(style):
        array = arrays[w.name]
        if w.layer == FIRST and w.parameter == "kernel" and style != "torchvision":
            array = swap_colours(array, in_torch)
        if in_torch:
            array = layouts.from_torch(w.kind, array, maps if w.layer == FLAT else 0)
        ours = layouts.to_ours(w.kind, array, len(params[FIRST]["bias"]))
        found.setdefault(w.layer, {})[w.parameter] = np.ascontiguousarray(ours)
    return {"params": found}


def from_variables(model: nn.Module, variables: Any, style: Style) -> dict[str, np.ndarray]:
    """A network's variables by the names of a style, in its layouts.

    Raises:
      UsageError: the network has layers that the style has no names for.
    """
    check_expressible(model, style)
    if style == "ours":
        return {name: np.asarray(array) for name, array in flatten(variables).items()}
    params, in_torch = variables["params"], style != "caffe-npy"
    found: dict[str, np.ndarray] = {}
    for w in weights_of(style):
        array = layouts.from_ours(w.kind, np.asarray(params[w.layer][w.parameter]))
        if in_torch:
            array = layouts.to_torch(w.kind, array, _maps(params) if w.layer == FLAT else 0)
        if w.layer == FIRST and w.parameter == "kernel" and style != "torchvision":
            array = swap_colours(array, in_torch)
        found[w.name] = np.ascontiguousarray(array)
    return found


def swap_colours(kernel: np.ndarray, in_torch: bool) -> np.ndarray:
    """The first convolution's kernel for BGR images, from that for RGB, and back."""
    return kernel[:, ::-1] if in_torch else kernel[:, :, ::-1]


def flatten(variables: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dicts by COLLECTION/LAYER/NAME."""
    found: dict[str, Any] = {}
    for key, value in variables.items():
        name = f"{prefix}{key}"
        found |= flatten(value, f"{name}/") if hasattr(value, "items") else {name: value}
    return found


def few(names: Any) -> str:
    """The first three of some names."""
    some = list(names)
    return ", ".join(some[:3]) + (", ..." if len(some) > 3 else "")


def _nest(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, array in flat.items():
        *path, last = name.split("/")
        part = found
        for key in path:
            part = part.setdefault(key, {})
        part[last] = array
    return found


def _maps(params: Any) -> int:
    """The number of maps that fc6 sees."""
    towers, maps = params["conv5"]["bias"].shape
    return int(towers * maps)


def _checked(
    file: WeightFile, arrays: dict[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """The wanted arrays as float32; DataError for the first that does not fit."""
    found = {}
    for name, shape in wanted.items():
        if name not in arrays:
            raise DataError(f"'{file.path}' has no {name} (it has {few(arrays)})")
        array = arrays[name]
        if array.shape != tuple(shape):
            given, needed = ("x".join(map(str, s)) for s in (array.shape, shape))
            raise DataError(f"'{file.path}': {name} is {given}, the network needs {needed}")
        if array.dtype.kind not in "fV":  # bfloat16 is of kind V.
            raise DataError(f"'{file.path}': {name} holds {array.dtype}, not floats")
        found[name] = array.astype(np.float32, copy=False)
        if not np.isfinite(found[name]).all():
            raise DataError(f"'{file.path}': {name} has NaN or infinite numbers")
    if more := [name for name in arrays if name not in wanted]:
        raise DataError(f"'{file.path}' has {more[0]}, which the network does not have")
    return found
