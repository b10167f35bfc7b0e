"""The experiments of `--scale=small` for AlexNet's claims: one change at a time, on CIFAR-10.

The paper measures each change on ImageNet. Here the same change is tested with a network of 9,000
parameters and 5,000 images of 32x32, which decides nothing about the paper's claims. The recorded
runs used slightly lossy JPEG copies of the images; a run today reads the originals.
"""

import math
import statistics
from typing import Any

from lenet_alexnet.reproduce.claims import Comparison, Row, Scale, Set, Values
from lenet_alexnet.reproduce.fig1 import GOAL, epochs_to
from lenet_alexnet.reproduce.gap import gaps

NEEDS = "CIFAR-10 (`lenet-alexnet data prepare cifar10`); minutes on a CPU"
DEPTHS = {
    "2 convolutions": (8, 20),
    "3 convolutions": (8, 23, 23),
    "4 convolutions": (8, 18, 18, 18),
    "5 convolutions": (8, 15, 15, 15, 15),
}
ALEXNET = (6, 16, 24, 24, 16)  # a sixteenth of AlexNet's maps
REMOVALS = {
    "all five": ALEXNET,
    "no conv1": ALEXNET[1:],
    "no conv2": ALEXNET[:1] + ALEXNET[2:],
    "no conv3": ALEXNET[:2] + ALEXNET[3:],  # without conv4 it is the same net
    "no conv5": ALEXNET[:4],
}
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "crops and reflections": {"data.photo.place": "random", "data.photo.flip": True},
    "and colour": {
        "data.photo.place": "random",
        "data.photo.flip": True,
        "data.photo.colour_noise": 0.1,
    },
}
# By `best_rate` from the selection files in experiments/009_fig1_activations/.
RATES = {"relu": 0.009, "tanh": 0.03, "sigmoid": 0.09}
SMALL_OUTPUT_RATES = {"relu": 0.015, "tanh": 0.03}
LONG = ("train.duration", "eval.every", "checkpoint.every")


def _fig1(results: list[dict[str, str]], curves: list[dict[str, str]]) -> Values:
    found = epochs_to(GOAL, curves)
    middle = statistics.median(found["relu"]) if "relu" in found else math.inf
    if math.isfinite(middle):
        found["times"] = [epochs / middle for epochs in found.get("tanh", [])]
    return found


def _sets(config: str, arms: dict[str, dict[str, Any]]) -> dict[str, Set]:
    return {label: Set(f"sweeps/cifar10_{config}.py", changes) for label, changes in arms.items()}


def _activation(name: str, rate: float) -> dict[str, Any]:
    whole = dict.fromkeys(LONG, "30 epochs")
    return {"model.activation": name, "optimizer.learning_rate": rate, **whole}


FIG1 = Scale(
    (
        Row("relu", None, text="epochs, ReLU"),
        Row("tanh", None, text="epochs, tanh"),
        Row("sigmoid", None, text="epochs, sigmoid"),
        Row("relu, small output weights", None),
        Row("tanh, small output weights", None),
        Row("times", None, text="tanh / ReLU (paper: 6), times"),
    ),
    _sets("activation", {name: _activation(name, rate) for name, rate in RATES.items()})
    | _sets(
        "activation_small_output",
        {
            f"{name}, small output weights": _activation(name, rate)
            for name, rate in SMALL_OUTPUT_RATES.items()
        },
    ),
    experiment="009_fig1_activations",
    needs=NEEDS,
    unit="",
    measure=_fig1,
    comparisons=(Comparison("relu", "tanh", "epochs to 25 % training error", ranks=True),),
)


def _scale(
    config: str,
    folder: str,
    arms: dict[str, dict[str, Any]],
    rows: tuple[Row, ...] = (),
    **more: Any,
) -> Scale:
    rows = rows or tuple(Row(label, None) for label in arms)
    return Scale(rows, _sets(config, arms), experiment=folder, needs=NEEDS, **more)


DEPTH = _scale(
    "depth",
    "010_depth",
    {label: {"model.widths": widths} for label, widths in DEPTHS.items()},
    comparisons=(Comparison("5 convolutions", "2 convolutions"),),
)
REMOVAL = _scale(
    "removal",
    "015_removal",
    {label: {"model.widths": widths} for label, widths in REMOVALS.items()},
    comparisons=tuple(Comparison("all five", name) for name in list(REMOVALS)[1:]),
)
AUGMENTATION = _scale(
    "augmentation",
    "011_augmentation",
    AUGMENTATIONS,
    tuple(Row(f"{what}{label}", None) for what in ("", "gap, ") for label in AUGMENTATIONS),
    measure=gaps,
    comparisons=(
        Comparison("crops and reflections", "none"),
        Comparison("gap, crops and reflections", "gap, none", "size"),
        Comparison("and colour", "crops and reflections"),
    ),
)
DROPOUT = _scale(
    "dropout",
    "012_dropout",
    {"no dropout": {}, "dropout": {"model.dropout": 0.5}},
    comparisons=(Comparison("dropout", "no dropout"),),
)
POOLING = _scale(
    "pooling",
    "013_pooling",
    {name: {"model.pooling": name} for name in ("average", "2/2", "3/2")},
    comparisons=(Comparison("2/2", "average"), Comparison("3/2", "2/2")),
)
LRN = _scale(
    "lrn",
    "014_lrn",
    {
        "none": {},
        "alpha 1e-4": {"model.response_norm": 1e-4},
        "alpha 0.36": {"model.response_norm": 0.36},
    },
    comparisons=(Comparison("alpha 1e-4", "none"), Comparison("alpha 0.36", "none")),
)
