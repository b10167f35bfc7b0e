"""What a claim of a paper is: its numbers, the runs that test it, and the rule of the verdict."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

EXACT = "exact: `lenet-alexnet info --config=configs/{}` prints it beside ours, tests assert it"
ROOT = Path(__file__).parents[2]  # of a checkout: configs/ and experiments/ are there


class Row(NamedTuple):
    """A number of a paper, and where ours is found.

    Attributes:
      label: the `set` of results.csv whose seeds are ours.
      paper: the printed number, in `Scale.unit`; None: the paper gives none.
      column: of results.csv, a fraction; "test_error@3": after pass 3, from curves.csv.
      text: what to call it, where the label does not say.
      band: the number's own uncertainty; None: `Scale.band`.
    """

    label: str
    paper: float | None
    column: str = "test_error"
    text: str = ""
    band: float | None = None


class Set(NamedTuple):
    """Runs that differ in their seeds alone: a file of configs/ and what is overridden in it."""

    config: str
    overrides: Mapping[str, Any] = {}


class Verdict(NamedTuple):
    """A word, and the sentence it stands for."""

    word: str
    sentence: str


Values = dict[str, list[float]]  # of each set, by seed


class Scale(NamedTuple):
    """How a claim is tested: as published, or on data that fits a laptop.

    Attributes:
      rows: the numbers.
      sets: the runs, by the label of their rows.
      experiment: the folder below experiments/ with what was measured; "": nothing yet.
      needs: data, machine and time.
      why: why it cannot be run here; "" if it can.
      note: how it is known without a run.
      seeds: how many it takes at least.
      unit: of the numbers; a fraction is multiplied by `factor`.
      band: the paper's own uncertainty of each of its numbers.
      measure: (rows of results.csv, rows of curves.csv) -> values by label, instead of a column.
      compute: measures without training: (data_dir) -> fractions by label.
      rule: the verdict on all values, where no row of its own is compared with the paper.
      rule_text: the rule in words, stated beforehand.
    """

    rows: tuple[Row, ...]
    sets: Mapping[str, Set] = {}
    experiment: str = ""
    needs: str = ""
    why: str = ""
    note: str = ""
    seeds: int = 3
    unit: str = "%"
    factor: float = 100.0
    band: float = 0.0
    measure: Callable[[list[dict[str, str]], list[dict[str, str]]], Values] | None = None
    compute: Callable[[str], dict[str, float]] | None = None
    rule: Callable[[Values], Verdict] | None = None
    rule_text: str = ""

    @property
    def runs(self) -> bool:
        """Whether there is something to run."""
        return bool(self.sets or self.compute)


class Claim(NamedTuple):
    """A row, table or figure of a paper. `small` tests the same idea on less: another claim."""

    name: str
    source: str
    title: str
    full: Scale
    small: Scale | None = None
