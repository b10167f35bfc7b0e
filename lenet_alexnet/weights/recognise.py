"""The network that a file of weights belongs to: its options, from names, shapes and layers."""

from typing import Any

from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.models import VARIANTS_OF, defaults
from lenet_alexnet.models.alexnet.options import sides
from lenet_alexnet.weights import names
from lenet_alexnet.weights.weight_file import WeightFile

USUAL_SIZES = {"owt": 224, "caffe": 227, "caffenet": 227}  # else 224
CONVOLUTIONS = names.LAYERS[:5]


def model_section(file: WeightFile, *, variant: str = "", image_size: int = 0) -> dict[str, Any]:
    """The `model` section of a config for weights with the names of others.

    Args:
      file: what `files.read` returns, in a style other than ours.
      variant: of AlexNet; "": as the file shows. Widths, towers and classes are the file's.
      image_size: of the network's input; 0: the variant's usual one.

    Raises:
      DataError: a layer is missing or has no shape of AlexNet.
      UsageError: the file does not show the variant, or no input of the usual size fits.
    """
    style, arrays = names.named(file)
    outputs, inputs = _sizes(file, style, arrays)
    towers = outputs["conv1"] // max(1, inputs["conv2"])
    variant = variant or _variant(file, style, towers)
    known = defaults("alexnet", variant) if variant in VARIANTS_OF["alexnet"] else {}
    found: dict[str, Any] = {
        "towers": towers,
        "widths": tuple(outputs[layer] for layer in CONVOLUTIONS),
        "dense_width": outputs["fc6"],
        "channels": inputs["conv1"],
    }
    different = {key: value for key, value in found.items() if known.get(key, value) != value}
    side = round((inputs["fc6"] / max(1, outputs["conv5"])) ** 0.5)
    size = image_size or USUAL_SIZES.get(variant, 224)
    if known and sides(size, known["pool"], known["conv1_padding"])[-1] != side:
        raise UsageError(
            f"'{file.path}': fc6 sees {side}x{side} maps, which inputs of {size} pixels do not "
            "give: name their size with --image_size"
        )
    return {
        "name": "alexnet",
        "variant": variant,
        "num_classes": outputs["fc8"],
        "image_size": size,
        **different,
    }


def _variant(file: WeightFile, style: names.Style, towers: int) -> str:
    if style == "torchvision" and towers == 1:
        return "owt"
    if style == "caffe-npy":
        return "caffe"
    if style == "caffe":
        layers = file.metadata["layers"]
        if "norm1" in layers and "pool1" in layers:
            return "caffenet" if layers.index("pool1") < layers.index("norm1") else "caffe"
    raise UsageError(
        f"'{file.path}' does not show which variant of AlexNet it is: name it with --variant="
        + "|".join(VARIANTS_OF["alexnet"])
    )


def _sizes(
    file: WeightFile, style: names.Style, arrays: dict[str, Any]
) -> tuple[dict[str, int], dict[str, int]]:
    """The outputs and inputs of each layer."""
    outputs, inputs = {}, {}
    for weight in names.weights_of(style):
        if weight.parameter == "bias":
            continue
        if weight.name not in arrays:
            raise DataError(f"'{file.path}' has no {weight.name} (it has {names.few(arrays)})")
        shape, wanted = arrays[weight.name].shape, 4 if weight.kind == "conv" else 2
        if len(shape) != wanted:
            text = "x".join(map(str, shape))
            raise DataError(f"'{file.path}': {weight.name} is {text}, not of {wanted} dimensions")
        last, before = (shape[-1], shape[-2]) if style == "caffe-npy" else (shape[0], shape[1])
        outputs[weight.layer], inputs[weight.layer] = int(last), int(before)
    return outputs, inputs
