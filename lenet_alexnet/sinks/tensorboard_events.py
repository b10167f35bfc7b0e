"""The log as TensorBoard's event file, with the HParams of a sweep's trial."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from lenet_alexnet.runs.metrics import Row
from lenet_alexnet.sinks.sink import COMPLETED, About, tagged

FLUSH = 10  # seconds


class TensorBoard:
    """The only event file in the run's folder tensorboard/.

    It is written again from the log when a run resumes or has gone back: so it has each step once,
    whatever was lost or doubled in a crash.
    """

    def __init__(self, about: About) -> None:
        self._about, self._folder = about, about.place("tensorboard")
        self._writer: Any = None

    def begin(self, rows: list[Row]) -> None:
        """Writes a new file, and then removes the old ones."""
        if self._writer:
            self._writer.close()
        old = list(self._folder.glob("events.out.tfevents.*"))
        # tensorboardX names files by the second: the suffix makes names unique. With purge_step, a
        # TensorBoard that is running forgets the old file.
        suffix = f".{uuid.uuid4().hex[:8]}"
        self._writer = SummaryWriter(
            str(self._folder), flush_secs=FLUSH, filename_suffix=suffix, purge_step=0
        )
        config = json.dumps(self._about.config, indent=1)
        self._writer.add_text("config", f"```json\n{config}\n```")
        for summary in self._hparams()[:2]:
            self._writer.file_writer.add_summary(summary)
        for row in rows:
            self.write(row)
        self._writer.flush()
        for path in old:
            path.unlink()

    def write(self, row: Row) -> None:
        """Adds the numbers and histograms of a line."""
        at = {"global_step": row["step"], "walltime": row["time"]}
        for tag, number in tagged(row).items():
            self._writer.add_scalar(tag, number, **at)
        for tag, histogram in _histograms(row):
            self._writer.add_histogram_raw(tag, **histogram, **at)

    def close(self, status: str) -> None:
        """Marks a completed trial as such, and closes the file."""
        if status == COMPLETED:
            for summary in self._hparams()[2:]:
                self._writer.file_writer.add_summary(summary)
        self._writer.close()

    def _hparams(self) -> tuple[Any, ...]:
        """Summaries for the HParams dashboard: experiment, start and end; () outside of a sweep."""
        config, settings = self._about.config, self._about.settings
        if not settings:
            return ()
        split = "validation" if config["data.validation"] else "test"
        tags = [f"{split}/top1_error", f"{split}/loss", "train/loss"]
        plain = {key: _plain(value) for key, value in settings.items()}
        return hparams(plain, dict.fromkeys(tags))


def _plain(value: Any) -> Any:
    """A value that an HParam may have."""
    return value if isinstance(value, bool | int | float | str) else str(value)


def _histograms(row: Row) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each histogram of a line by tag, as `add_histogram_raw` takes it.

    Sums are those of the bins' centres; TensorBoard shows the bins only.
    """
    for what, layers in row.get("histograms", {}).items():
        for layer, found in layers.items():
            low, high, counts = found["low"], found["high"], found["counts"]
            if low is None or high is None:
                continue
            width = (high - low) / len(counts)
            limits = [low + width * (i + 1) for i in range(len(counts))]
            centres = [limit - width / 2 for limit in limits]
            yield (
                f"{what}/{layer}",
                {
                    "min": low,
                    "max": high,
                    "num": sum(counts),
                    "sum": sum(n * x for n, x in zip(counts, centres, strict=True)),
                    "sum_squares": sum(n * x * x for n, x in zip(counts, centres, strict=True)),
                    "bucket_limits": limits,
                    "bucket_counts": counts,
                },
            )
