"""The results of a claim, from the records of experiments/ or from new runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lenet_alexnet.config import shipped
from lenet_alexnet.reproduce import records
from lenet_alexnet.reproduce.claims import Row, Scale, Verdict
from lenet_alexnet.reproduce.verdict import compare, row_word


class Measured(NamedTuple):
    """A row of a claim with our values, one per seed."""

    row: Row
    values: list[float]
    verdict: str


def recorded(scale: Scale, root: Path = shipped.ROOT) -> tuple[list[Measured], list[Verdict]]:
    """The results in the committed records below `root`."""
    folder = root / "experiments" / scale.experiment
    if not scale.experiment:
        return measure(scale, [], [])
    found = records.read(folder / "results.csv"), records.read(folder / "curves.csv")
    return measure(scale, *found)


def measure(
    scale: Scale, results: Sequence[Any], curves: Sequence[Any]
) -> tuple[list[Measured], list[Verdict]]:
    """Each row's values and verdict, and the verdicts on the claim's comparisons."""
    by_label = scale.measure(list(results), list(curves)) if scale.measure else {}
    found = []
    for row in scale.rows:
        values = (
            by_label.get(row.label, []) if scale.measure else _column(scale, row, results, curves)
        )
        found.append(Measured(row, values, row_word(values, row, scale)))
    whole = by_label or {m.row.label: m.values for m in found}
    if not any(whole.values()):
        return found, []
    return found, compare(scale.comparisons, whole, least=scale.least)


def _column(scale: Scale, row: Row, results: Sequence[Any], curves: Sequence[Any]) -> list[float]:
    column, _, after = row.column.partition("@")
    if not after:
        mine = [r for r in results if r["set"] == row.label and r.get(column) not in (None, "")]
        return [scale.factor * float(r[column]) for r in mine]
    split = column.removesuffix("_error")
    return [
        scale.factor * float(r["error"])
        for r in curves
        if r["set"] == row.label and r["split"] == split and round(float(r["epoch"])) == int(after)
    ]
