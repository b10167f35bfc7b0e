"""Fig. 1 of the AlexNet paper on all of CIFAR-10: which networks, weights, rates and lengths.

The paper does not say which four-layer network it trained. An arm is one of two networks of
cuda-convnet, with the initial weights of its file or with weights scaled by fan-in, and an
activation: "19pct/own/relu". The plan is in experiments/018_cifar10_fig1.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lenet_alexnet.config import shipped
from lenet_alexnet.reproduce import records
from lenet_alexnet.reproduce.claims import Comparison, Margin, Row, Scale, Set, Values
from lenet_alexnet.reproduce.fig1 import GOAL, best_rate, epochs_to

CONFIG = "cifar10_19pct.py"
NETS: dict[str, dict[str, Any]] = {
    "19pct": {},
    "13pct": {"model.variant": "13pct", "data.photo.crop": 24},
}
FAN_INS = {"19pct": (75, 800, 800, 1024), "13pct": (75, 1600, 576, 288, 1152)}
PIXEL_STD = 62.0  # of CIFAR-10's training pixels less the mean image, about
FIRST_RATES = {"own": 0.001, "scaled": 0.01}  # the source's, and a usual one
ACTIVATIONS = ("relu", "tanh", "sigmoid")
ARMS = [f"{net}/{weights}/{act}" for net in NETS for weights in FIRST_RATES for act in ACTIVATIONS]
LONGEST = 60  # epochs
FACTOR = 1.5  # between two rates of the search
SELECTION = shipped.ROOT / "experiments" / "018_cifar10_fig1" / "selection.csv"
WHY = "each activation's rate is being searched: experiments/018_cifar10_fig1"


class Found(NamedTuple):
    """What the search of an arm's rate ended with: the rate, and its epochs to 25 %."""

    rate: float
    epochs: float


class Trial(NamedTuple):
    """A rate that was tried: its epochs to 25 % or infinity, and the training error at the end."""

    epochs: float
    error: float


def rate(arm: str, power: int) -> float:
    """The rate that is `power` steps above the first one of an arm."""
    return float(f"{FIRST_RATES[arm.split('/')[1]] * FACTOR**power:.6g}")


def trials(arm: str, rows: Sequence[Mapping[str, str]]) -> dict[int, Trial]:
    """The trials of an arm among the rows of selection.csv, by the power of their rates."""
    powers = {rate(arm, power): power for power in range(-20, 20)}
    return {
        powers[float(row["learning_rate"])]: Trial(
            float(row["epochs_to_25_percent"]), float(row["error"])
        )
        for row in rows
        if row["arm"] == arm and float(row["learning_rate"]) in powers
    }


def best(tried: Mapping[int, Trial]) -> int:
    """The power of the best rate, see `fig1.best_rate`."""
    return int(best_rate((power, *trial) for power, trial in tried.items()))


def next_power(tried: Mapping[int, Trial]) -> int | None:
    """What the search tries next; None: both neighbours of the best rate are worse."""
    if not tried:
        return 0
    middle = best(tried)
    return next((power for power in (middle + 1, middle - 1) if power not in tried), None)


def searched(rows: Sequence[Mapping[str, str]]) -> dict[str, Found]:
    """The arms whose search has ended."""
    found = {}
    for arm in ARMS:
        tried = trials(arm, rows)
        if next_power(tried) is None:
            found[arm] = Found(rate(arm, best(tried)), tried[best(tried)].epochs)
    return found


def changes(arm: str) -> dict[str, Any]:
    """What an arm changes in `CONFIG`, apart from the rate."""
    net, weights, activation = arm.split("/")
    found = NETS[net] | {
        "model.activation": activation,
        "optimizer.weight_decay": 0.0,
        "optimizer.layer_decay.fc10": 0.0,
        "optimizer.schedule.boundaries": (),
        "data.test": "",
        "eval.every": "0 steps",
    }
    if weights == "scaled":
        # He et al. 2015 for ReLU; LeCun et al. 1998, sec. 4.6 of "Efficient BackProp", for others.
        gain = 2 if activation == "relu" else 1
        stds = tuple(round(math.sqrt(gain / fan_in), 6) for fan_in in FAN_INS[net])
        found |= {"model.stds": stds, "data.photo.std": PIXEL_STD}
    return found


def run(arm: str, found: Found) -> Set:
    """The runs of an arm: at its rate, for twice the epochs that the search needed."""
    epochs = min(LONGEST, 2 * math.ceil(min(found.epochs, LONGEST)))
    return Set(
        CONFIG,
        changes(arm)
        | {
            "optimizer.learning_rate": found.rate,
            "train.duration": f"{epochs} epochs",
            "log.norms": True,  # the gradient by layer
        },
    )


def measure(results: list[dict[str, str]], curves: list[dict[str, str]]) -> Values:
    """Epochs to 25 % of each arm by seed, and tanh's over ReLU's of the same seed.

    A run that does not get there within the length of its arm is infinite, and so is a ratio of
    one.
    """
    del results
    found: Values = {}
    for arm in dict.fromkeys(row["set"] for row in curves):
        found |= epochs_to(GOAL, [row for row in curves if row["set"] == arm])
    for arm in [name for name in found if name.endswith("/tanh")]:
        relu = found.get(_partner(arm), [])
        found[times(arm)] = [
            a / b if math.isfinite(b) else math.inf for a, b in zip(found[arm], relu, strict=False)
        ]
    return found


def times(arm: str) -> str:
    """The label of tanh's epochs over ReLU's, for an arm with the network and weights of both."""
    net, weights, _ = arm.split("/")
    return f"{net}/{weights}/times"


def scale(found: Mapping[str, Found]) -> Scale:
    """The claim, with the arms whose rate is known."""
    arms = [arm for arm in ARMS if arm in found]
    pairs = [arm for arm in arms if arm.endswith("/tanh") and _partner(arm) in found]
    rows = [Row(arm, None, text=f"epochs, {_words(arm)}") for arm in arms]
    ratios = [
        Row(times(arm), 6.0, text=f"tanh / ReLU, {_words(arm, 2)}, times", either=True)
        for arm in pairs
    ]
    if not ratios:
        return Scale((Row("times", 6.0),), unit="times", why=WHY)
    return Scale(
        (*ratios, *rows),
        {arm: run(arm, found[arm]) for arm in arms},
        experiment="018_cifar10_fig1",
        needs="CIFAR-10 (`lenet-alexnet data prepare cifar10`); 5 hours of one core a network",
        unit="",
        least=3,
        margin=Margin(1.0, "1, ours: the paper reads one run of each off a figure"),
        measure=measure,
        comparisons=tuple(
            Comparison(_partner(arm), arm, "epochs to 25 % training error", ranks=True)
            for arm in pairs
        ),
    )


def _partner(arm: str) -> str:
    return f"{arm.removesuffix('tanh')}relu"


def _words(arm: str, count: int = 3) -> str:
    return ", ".join(arm.split("/")[:count])


FULL = scale(searched(records.read(SELECTION)))
