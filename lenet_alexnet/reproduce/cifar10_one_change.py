"""Each of AlexNet's changes alone, in the network of layers-19pct.cfg on all of CIFAR-10.

The paper measures them on ImageNet; its own networks on CIFAR-10 have about this size. The plan is
in experiments/020_cifar10_one_change.
"""

from collections.abc import Mapping
from typing import Any

from lenet_alexnet.reproduce.claims import Comparison, Row, Scale, Set
from lenet_alexnet.reproduce.gap import gaps
from lenet_alexnet.reproduce.selection import Selection

EXPERIMENT = "020_cifar10_one_change"
CONFIG = "sweeps/cifar10_one_change.py"
BASE = "base"
_CENTRE = {"data.photo.crop": 24, "model.image_size": 24}
_CROPS = _CENTRE | {"data.photo.place": "random"}
_REFLECTIONS = _CROPS | {"data.photo.flip": True}


def _convolutions(widths: tuple[int, ...], pools: tuple[str, ...]) -> dict[str, Any]:
    """Other convolutions, with the initial weights that the source has for 32x32 inputs."""
    stds = (1e-4, *(0.01,) * len(widths))  # conv1, the others and fc10
    norms = ("none",) * len(widths)
    return {"model.widths": widths, "model.pools": pools, "model.stds": stds, "model.norms": norms}


# Three convolutions of 32, 32 and 64 maps: 89,578 parameters. What each arm changes.
ARMS: dict[str, dict[str, Any]] = {
    BASE: {},
    "windows of 2x2": {"model.pools": ("max_2x2", "average_2x2", "average_2x2")},
    "only maxima": {"model.pools": ("max", "max", "max")},
    "dropout": {"model.dropout": 0.5},
    "24 pixels": _CENTRE,
    "crops": _CROPS,
    "crops, reflections": _REFLECTIONS,
    "crops, reflections, colours": _REFLECTIONS | {"data.photo.colour_noise": 0.1},
    "no conv1": _convolutions((32, 64), ("average", "average")),
    "no conv2": _convolutions((32, 64), ("max", "average")),
    "no conv3": _convolutions((32, 32), ("max", "average")),
    "four convolutions": _convolutions((32, 32, 64, 64), ("max", "average", "average", "none")),
    # 89,682 parameters
    "four narrower convolutions": _convolutions(
        (32, 32, 34, 34), ("max", "average", "average", "none")
    ),
    "norm within maps": {"model.norms": ("within", "within", "none")},
    "norm across maps": {"model.norms": ("across", "across", "none")},
}
# Of these, the gap between the errors of test and training images is reported, too.
REGULARISED = (BASE, "dropout", "24 pixels", "crops", "crops, reflections")
# Without decay, and with that of the source, which multiplies the rate: 3 for fc10.
_DECAYS = (
    {"optimizer.weight_decay": 0.0, "optimizer.layer_decay.fc10": 0.0},
    {"optimizer.weight_decay": 0.004, "optimizer.layer_decay.fc10": 3.0},
)
_RATES = (0.0005, 0.001, 0.002)
SELECTION = Selection(
    EXPERIMENT,
    ARMS,
    [{"optimizer.learning_rate": rate, **decay} for decay in _DECAYS for rate in _RATES],
)
# The claim is that the first has the lower test error, or the smaller gap to the training images'.
COMPARISONS = (
    Comparison(BASE, "windows of 2x2"),
    Comparison("only maxima", BASE),
    Comparison("dropout", BASE),
    Comparison("gap, dropout", "gap, base", "size"),
    Comparison("crops", "24 pixels"),
    Comparison("gap, crops", "gap, 24 pixels", "size"),
    Comparison("crops, reflections", "crops"),
    Comparison("crops, reflections, colours", "crops, reflections"),
    Comparison(BASE, "no conv1"),
    Comparison(BASE, "no conv2"),
    Comparison(BASE, "no conv3"),
    Comparison("four convolutions", BASE),
    Comparison("four narrower convolutions", BASE),
    Comparison("norm within maps", BASE),
    Comparison("norm across maps", BASE),
)
WHY = f"rates and decays are not chosen yet: experiments/{EXPERIMENT}"


def scale(chosen: Mapping[str, dict[str, Any]]) -> Scale:
    """The claim, with the arms whose rate and decay are chosen."""
    if not chosen:
        return Scale((Row(BASE, None),), why=WHY)
    # All 50,000 images; some of them are evaluated as test images are, for the gap.
    images = {"data.train": "train", "data.validation": "train[:5000]", "data.test": "test"}
    return Scale(
        (*(Row(arm, None) for arm in ARMS), *(Row(f"gap, {arm}", None) for arm in REGULARISED)),
        {arm: Set(CONFIG, {**ARMS[arm], **setting, **images}) for arm, setting in chosen.items()},
        experiment=EXPERIMENT,
        needs="CIFAR-10 (`lenet-alexnet data prepare cifar10`); 20 minutes of one core a run",
        measure=gaps,
        comparisons=COMPARISONS,
    )


FULL = scale(SELECTION.recorded())
