"""The log as metrics.csv, for spreadsheets."""

import csv
from typing import IO, Any

from lenet_alexnet.runs.metrics import Row
from lenet_alexnet.runtime import storage
from lenet_alexnet.sinks.sink import About, figures

FIRST = ("step", "epoch", "split", "time")


class CsvFile:
    """A row for each line of metrics.jsonl and a column for each number in it."""

    def __init__(self, about: About) -> None:
        self._path = about.folder / "metrics.csv"
        self._rows: list[dict[str, Any]] = []
        self._columns: dict[str, None] = {}
        self._file: IO[str] | None = None

    def begin(self, rows: list[Row]) -> None:
        """Writes the whole file again."""
        self._rows = [_cells(row) for row in rows]
        self._columns = dict.fromkeys(FIRST)
        for row in self._rows:
            self._columns |= dict.fromkeys(row)
        self._rewrite()

    def write(self, row: Row) -> None:
        """Appends a row; a number that no row has had is a new column."""
        cells = _cells(row)
        self._rows.append(cells)
        if self._columns.keys() >= cells.keys():
            assert self._file is not None
            csv.DictWriter(self._file, self._columns).writerow(cells)
            self._file.flush()
        else:
            self._columns |= dict.fromkeys(cells)
            self._rewrite()

    def _rewrite(self) -> None:
        self.close()
        with storage.written_whole(self._path, newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)
        self._file = storage.open_here(self._path, "a", newline="")

    def close(self, status: str = "") -> None:
        """Closes the file."""
        del status
        if self._file:
            self._file.close()


def _cells(row: Row) -> dict[str, Any]:
    return {key: row[key] for key in FIRST if key in row} | figures(row)
