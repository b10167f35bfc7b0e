"""A claim of a paper: its numbers, the runs that test it, and the rule of the verdict."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

EXACT = "exact: `lenet-alexnet info --config={}` prints it beside ours, tests assert it"


class Margin(NamedTuple):
    """The greatest difference to a paper's number that counts as the same, and why."""

    size: float
    why: str


class Row(NamedTuple):
    """A number of a paper, and where to find ours.

    Attributes:
      label: the `set` of results.csv whose seeds are ours.
      paper: the printed number, in `Scale.unit`; None: the paper gives none.
      column: of results.csv, a fraction; "test_error@3": after pass 3, from curves.csv.
      text: its name, if it is not the label.
      margin: for this number; None: `Scale.margin`.
      either: neither a smaller nor a larger number is better.
    """

    label: str
    paper: float | None
    column: str = "test_error"
    text: str = ""
    margin: Margin | None = None
    either: bool = False

    @property
    def of_training(self) -> bool:
        """Whether it is a training error: a lower one does not mean a better network."""
        return self.column.startswith("train_error")


class Set(NamedTuple):
    """Runs that differ only in their seeds: a file of configs/ and its overrides."""

    config: str
    overrides: Mapping[str, Any] = {}


class Comparison(NamedTuple):
    """The claim that `what` is lower in the first set than in the second.

    `ranks`: tested by ranks, as a run may not reach the goal (its value is infinite).
    """

    first: str
    second: str
    what: str = "test error"
    ranks: bool = False


class Verdict(NamedTuple):
    """A word of `verdict.WORDS`, and the figures behind it."""

    word: str
    sentence: str


Values = dict[str, list[float]]  # of each set, by seed; infinite: the run did not reach the goal


class Scale(NamedTuple):
    """How a claim is tested: as published, or in small on a laptop.

    Attributes:
      rows: the numbers.
      sets: the runs, by the label of their rows.
      experiment: the folder below experiments/ with the results; "": none yet.
      needs: data, machine and time.
      why: why it cannot be run here; "" if it can.
      note: how it is verified without a run.
      seeds: the number of runs of each set.
      least: with fewer there is no verdict: 5, or 3 where a run takes over an hour.
      unit: of the numbers; a fraction is multiplied by `factor`.
      margin: of each number without a separate one.
      measure: (rows of results.csv, rows of curves.csv) -> values by label, instead of a column.
      compute: measures without training: (data_dir) -> fractions by label.
      comparisons: of sets, if no row is compared with the paper.
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
        """The margins of the rows with a number of a paper."""
        found = [row.margin or self.margin for row in self.rows if row.paper is not None]
        return [margin for margin in dict.fromkeys(found) if margin.why]


class Claim(NamedTuple):
    """A row, table or figure of a paper. `small` tests the idea in small: another claim."""

    name: str
    source: str
    title: str
    full: Scale
    small: Scale | None = None
