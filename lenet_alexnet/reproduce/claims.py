"""What a claim of a paper is: its numbers, the runs that test it, and the rule of the verdict."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

EXACT = "exact: `lenet-alexnet info --config=configs/{}` prints it beside ours, tests assert it"
ROOT = Path(__file__).parents[2]  # of a checkout: configs/ and experiments/ are there


class Margin(NamedTuple):
    """How far from a paper's number ours may be and still be the same, and why."""

    size: float
    why: str


class Row(NamedTuple):
    """A number of a paper, and where ours is found.

    Attributes:
      label: the `set` of results.csv whose seeds are ours.
      paper: the printed number, in `Scale.unit`; None: the paper gives none.
      column: of results.csv, a fraction; "test_error@3": after pass 3, from curves.csv.
      text: what to call it, where the label does not say.
      margin: the number's own; None: `Scale.margin`.
    """

    label: str
    paper: float | None
    column: str = "test_error"
    text: str = ""
    margin: Margin | None = None

    @property
    def of_training(self) -> bool:
        """Whether it is an error on the training images: a lower one is not a better network."""
        return self.column.startswith("train_error")


class Set(NamedTuple):
    """Runs that differ in their seeds alone: a file of configs/ and what is overridden in it."""

    config: str
    overrides: Mapping[str, Any] = {}


class Comparison(NamedTuple):
    """That `what` is lower in the first set than in the second.

    `ranks`: tested by ranks, where a run may not get there (its value is infinite).
    """

    first: str
    second: str
    what: str = "test error"
    ranks: bool = False


class Verdict(NamedTuple):
    """A word of `verdict.WORDS`, and the figures behind it."""

    word: str
    sentence: str


Values = dict[str, list[float]]  # of each set, by seed; infinite: this run did not get there


class Scale(NamedTuple):
    """How a claim is tested: as published, or on data that fits a laptop.

    Attributes:
      rows: the numbers.
      sets: the runs, by the label of their rows.
      experiment: the folder below experiments/ with what was measured; "": nothing yet.
      needs: data, machine and time.
      why: why it cannot be run here; "" if it can.
      note: how it is known without a run.
      seeds: how many are run.
      least: with fewer there is no verdict: 5, or 3 where a run takes over an hour.
      unit: of the numbers; a fraction is multiplied by `factor`.
      margin: of each number that has none of its own.
      measure: (rows of results.csv, rows of curves.csv) -> values by label, instead of a column.
      compute: measures without training: (data_dir) -> fractions by label.
      comparisons: of sets, where no row of its own is compared with the paper.
    """

    rows: tuple[Row, ...]
    sets: Mapping[str, Set] = {}
    experiment: str = ""
    needs: str = ""
    why: str = ""
    note: str = ""
    seeds: int = 5
    least: int = 5
    unit: str = "%"
    factor: float = 100.0
    margin: Margin = Margin(0.0, "")
    measure: Callable[[list[dict[str, str]], list[dict[str, str]]], Values] | None = None
    compute: Callable[[str], dict[str, float]] | None = None
    comparisons: tuple[Comparison, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether there is something to run."""
        return bool(self.sets or self.compute)

    def margins(self) -> list[Margin]:
        """Those of the rows that a paper has a number for."""
        found = [row.margin or self.margin for row in self.rows if row.paper is not None]
        return [margin for margin in dict.fromkeys(found) if margin.why]


class Claim(NamedTuple):
    """A row, table or figure of a paper. `small` tests the same idea on less: another claim."""

    name: str
    source: str
    title: str
    full: Scale
    small: Scale | None = None
