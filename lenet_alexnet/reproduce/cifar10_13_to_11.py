"""What made 13 % into 11 %: the differences of the two published networks, one at a time.

Sec. 3.3 of the paper credits response normalisation; the published files differ in more. The plan
is in experiments/019_cifar10_13_to_11.
"""

from collections.abc import Mapping
from typing import Any

from lenet_alexnet.reproduce.claims import Comparison, Row, Scale, Set
from lenet_alexnet.reproduce.selection import Selection

EXPERIMENT = "019_cifar10_13_to_11"
CONFIG = "cifar10_13pct.py"
PUBLISHED = "13pct"
ARMS: dict[str, dict[str, Any]] = {
    "normalisation": {"model.norms": ("across", "across_before_pool")},
    "width and decay": {"model.local_widths": (64, 32), "optimizer.layer_decay.fc10": 0.01},
    "length": {},
}
SELECTION = Selection(
    EXPERIMENT, ARMS, [{"optimizer.learning_rate": rate} for rate in (0.00067, 0.001, 0.0015)]
)
# The trials of a selection are equally long, the runs of this arm are not.
LENGTH = {
    "train.duration": "520 epochs",
    "optimizer.schedule.boundaries": ("500 epochs", "510 epochs"),
}
WHY = f"the rates are not chosen yet: experiments/{EXPERIMENT}"


def scale(chosen: Mapping[str, dict[str, Any]]) -> Scale:
    """The claim, with the arms whose rate is chosen."""
    if not chosen:
        return Scale((Row("one difference", None),), why=WHY)
    runs = {
        arm: Set(CONFIG, {**ARMS[arm], **setting, **(LENGTH if arm == "length" else {})})
        for arm, setting in chosen.items()
    }
    return Scale(
        tuple(Row(label, None) for label in (PUBLISHED, *ARMS)),
        {PUBLISHED: Set(CONFIG), **runs},
        experiment=EXPERIMENT,
        needs="CIFAR-10 (`lenet-alexnet data prepare cifar10`); 5 to 15 hours of one core a seed",
        seeds=3,
        least=3,
        comparisons=tuple(Comparison(arm, PUBLISHED) for arm in ARMS),
    )


FULL = scale(SELECTION.recorded())
