"""Fig. 1's quantity: epochs until 25 % training error, and the rate that takes fewest."""

import math
from collections.abc import Iterable

from lenet_alexnet.reproduce.claims import Values

GOAL = 0.25  # of the training images: Fig. 1's line


def epochs_to(goal: float, curves: list[dict[str, str]]) -> Values:
    """Epochs until the training error (of an epoch, in training) is `goal`, between two linearly.

    By set, a value a seed. One that is there after the first epoch has that epoch; one that does
    not get there within the shortest of the runs, for as long as all were watched, is infinite.
    """
    runs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in curves:
        if row["split"] == "train":
            point = float(row["epoch"]), float(row["error"])
            runs.setdefault((row["set"], row["seed"]), []).append(point)
    watched = min((points[-1][0] for points in runs.values()), default=0.0)
    found: Values = {}
    for (name, _), points in runs.items():
        epochs = _reached(goal, points)
        found.setdefault(name, []).append(epochs if epochs <= watched else math.inf)
    return found


def _reached(goal: float, points: list[tuple[float, float]]) -> float:
    reached = next((i for i, (_, error) in enumerate(points) if error <= goal), None)
    if reached is None:
        return math.inf
    if reached == 0:
        return points[0][0]
    (e0, y0), (e1, y1) = points[reached - 1 : reached + 1]
    return e0 + (e1 - e0) * (y0 - goal) / (y0 - y1)


def best_rate(tried: Iterable[tuple[float, float, float]]) -> float:
    """The rate that Fig. 1's rule compares: the one that takes fewest epochs to the line.

    Args:
      tried: (rate, epochs to the line or infinity, training error at the end). Where epochs are
        equal, or no rate gets there, the lower error counts.
    """
    return min(tried, key=lambda one: one[1:])[0]
