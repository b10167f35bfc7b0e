"""Fig. 1's quantity: epochs to 25 % training error, and the rate with the fewest."""

import math
from collections.abc import Iterable

from lenet_alexnet.reproduce.claims import Values

GOAL = 0.25  # of the training images: Fig. 1's line


def epochs_to(goal: float, curves: list[dict[str, str]]) -> Values:
    """Epochs until the training error (the mean of an epoch) is `goal`, interpolated linearly.

    By set, one value per seed. A run at the goal after the first epoch has that epoch's value. A
    run that does not reach it within the length of the shortest run is infinite.
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
    """The rate chosen by Fig. 1's rule: the one with the fewest epochs to the line.

    Args:
      tried: (rate, epochs to the line or infinity, training error at the end). If epochs are
        equal, or no rate reaches it, the lower error decides.
    """
    return min(tried, key=lambda one: one[1:])[0]
