"""What a sink is, and what it gets to know about the run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lenet_alexnet.errors import DataError
from lenet_alexnet.runs.metrics import Row

PROJECT = "lenet-alexnet"  # The name of the project or experiment, unless a variable names another.
# Entries of a line that are no figures, or are the same in each line.
LEFT_OUT = ("step", "epoch", "split", "time", "examples", "histograms")
COMPLETED, INTERRUPTED, DIVERGED, FAILED = "completed", "interrupted", "diverged", "failed"


class OfSweep(NamedTuple):
    """What a trial knows of its sweep: the folder, and the settings of the trial by dotted name."""

    folder: Path
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class About:
    """A run, for those who get its log.

    Attributes:
      folder: the run's.
      config: by dotted name.
      sweep: if the run is a trial of one.
    """

    folder: Path
    config: Mapping[str, Any]
    sweep: OfSweep | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the sweep sets in this run."""
        return self.sweep.settings if self.sweep else {}

    @property
    def group(self) -> str | None:
        """The name of the sweep."""
        return self.sweep.folder.name if self.sweep else None

    def place(self, name: str, *, shared: bool = False) -> Path:
        """A folder in the run's, or if `shared` in that of its sweep; it is made if missing.

        Raises:
          DataError: it is a link, which may lead to other files of the user.
        """
        folder = self.sweep.folder if shared and self.sweep else self.folder
        path = folder / name
        if path.is_symlink():
            raise DataError(f"'{path}' is a link")
        path.mkdir(exist_ok=True)
        return path


class Sink(Protocol):
    """Who gets a copy of the log. It is made and called in its own thread; it may raise."""

    def begin(self, rows: list[Row]) -> None:
        """The lines so far: after a resume, and again when the run has gone back."""

    def write(self, row: Row) -> None:
        """One more line."""

    def close(self, status: str) -> None:
        """The run ended, with one of the states above."""


def figures(row: Row) -> dict[str, float]:
    """The numbers of a line by name: "loss", "gradient_norm/C1" ..."""
    found: dict[str, float] = {}
    for key, value in row.items():
        if key in LEFT_OUT or (key == "learning_rate" and row["split"] != "train"):
            continue
        inner = value.items() if isinstance(value, dict) else ()
        found |= {f"{key}/{name}": number for name, number in inner if number is not None}
        if isinstance(value, int | float):
            found[key] = value
    return found


def tagged(row: Row) -> dict[str, float]:
    """The numbers of a line by tag: "train/loss" ..."""
    return {f"{row['split']}/{name}": number for name, number in figures(row).items()}
