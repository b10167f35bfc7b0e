"""What the figures and the page of a sweep show: the metric by swept number, and over training."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lenet_alexnet.sweep import results
from lenet_alexnet.sweep.results import Row
from lenet_alexnet.sweep.trials import Sweep


class Line(NamedTuple):
    """Means over seeds, with their standard deviations (0 for one seed), at increasing places."""

    others: tuple[tuple[str, Any], ...]  # the overrides that all its trials share
    places: list[float]
    means: list[float]
    deviations: list[float]
    seeds: int  # how many there are at most


def scaled(metric: str) -> tuple[str, float]:
    """The name of a metric with its unit, and the factor to that unit."""
    return ("error, %", 100.0) if metric == "top1_error" else (metric, 1.0)


def label(rows: Sequence[Row], metric: str) -> str:
    """The split that selects, and the metric with its unit."""
    return f"{rows[0].values['selected_on']} {scaled(metric)[0]}"


def numbers(rows: Sequence[Row]) -> list[str]:
    """The swept entries that are numbers with at least two values, without the seed."""
    return [key for key in results.swept(rows) if key != "seed" and _is_number(rows, key)]


def _is_number(rows: Sequence[Row], key: str) -> bool:
    values = {str(row.trial.overrides.get(key)) for row in rows}
    kinds = {type(row.trial.overrides.get(key)) for row in rows}
    return len(values) > 1 and kinds <= {int, float}


def lines(rows: Sequence[Row], key: str, metric: str) -> list[Line]:
    """A line for each setting of the other overrides with at least two places, best first.

    If each place has one setting (numbers swept together), all of them form one line.
    """
    found: dict[Any, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    together = len({row.setting for row in rows}) == len({row.trial.overrides[key] for row in rows})
    for row in rows:
        others = () if together else tuple(pair for pair in row.setting if pair[0] != key)
        found[others][float(row.trial.overrides[key])].append(row.values[metric])
    drawn = [_line(others, by_place) for others, by_place in found.items() if len(by_place) > 1]
    return sorted(drawn, key=lambda line: min(line.means))


def curves(sweep: Sweep, rows: Sequence[Row], metric: str) -> list[Line]:
    """The metric over the epochs of each setting, the best setting first."""
    drawn = []
    for setting in results.ranked(rows, metric):
        found: dict[float, list[float]] = defaultdict(list)
        for row in (row for row in rows if row.setting == setting.overrides):
            for point in sweep.rows(row.trial.id):
                if point["split"] == row.values["selected_on"] and point[metric] is not None:
                    found[point["epoch"]].append(point[metric])
        if found:
            drawn.append(_line(setting.overrides, found))
    return drawn


def _line(others: Any, by_place: dict[float, list[float]]) -> Line:
    places = sorted(by_place)
    means = [float(np.mean(by_place[x])) for x in places]
    deviations = [np.std(by_place[x], ddof=1) if len(by_place[x]) > 1 else 0.0 for x in places]
    seeds = max(len(values) for values in by_place.values())
    return Line(others, places, means, [float(d) for d in deviations], seeds)


def name(others: Sequence[tuple[str, Any]], nothing: str) -> str:
    """Overrides by the last parts of their names; `nothing` if there are none."""
    return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in others) or nothing
