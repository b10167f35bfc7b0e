"""What a run leaves behind (config, run, metrics, summary), and the progress bar."""

import contextlib
import errno
import importlib.metadata
import json
import math
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lenet_alexnet import __version__
from lenet_alexnet import config as configs
from lenet_alexnet.data import statistics
from lenet_alexnet.data.statistics import Statistics, load
from lenet_alexnet.errors import DataError, UsageError

# Changed code; what is recorded in experiments/ meanwhile changes no run.
CHANGED = ("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)experiments")


def write_json(path: Path, content: Any) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w") as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class RunDirectory:
    """One run's folder; opened again with the same config, it goes on."""

    def __init__(self, folder: Path, config: Any, *, writes: bool = True) -> None:
        """Creates the folder, or verifies that it holds a run of this config.

        Raises:
          UsageError: a file, not writable, or another config's (the differences are shown).
        """
        self.folder, self.config, self._writes = folder, config, writes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(f"workdir '{folder}' is not writable: {error.strerror}") from error
        if (folder / "config.json").exists():
            changed = configs.differences(read_json(folder / "config.json"), config.to_dict())
            if changed:
                raise UsageError(
                    f"workdir '{folder}' holds a run of another config ({'; '.join(changed)}): "
                    "name another workdir"
                )

    def begin(self, class_names: Sequence[str], photos: Statistics | None = None) -> None:
        """Writes config.json, run.json (what runs, with what, where) and statistics.npz.

        Args:
          class_names: of the training data.
          photos: the mean image and colours of the training photos, where the config wants them;
            with them the run can be used without its data.

        Raises:
          UsageError: the run began with other data.
        """
        import jax

        if not self._writes:
            return
        self._same_data(class_names, photos)
        if photos is not None:
            statistics.save(self.folder, photos)
        write_json(self.folder / "config.json", self.config.to_dict())
        packages = ("jax", "jaxlib", "flax", "optax")
        write_json(
            self.folder / "run.json",
            {
                "package_version": __version__,
                **checkout(),
                "versions": {
                    "python": platform.python_version(),
                    **{name: importlib.metadata.version(name) for name in packages},
                },
                "devices": [device.device_kind for device in jax.devices()],
                "host": socket.gethostname(),
                "cpu_count": os.cpu_count(),
                "seed": self.config.seed,
                "config_hash": configs.config_hash(self.config),
                "class_names": list(class_names),
                "command": sys.argv,
                "started": time.time(),
            },
        )

    def _same_data(self, class_names: Sequence[str], photos: Statistics | None) -> None:
        """Refuses data that are not those of the run so far."""
        hint = "name the data that it began with, or another workdir"
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            before = json.loads((self.folder / "run.json").read_text())["class_names"]
            if before != list(class_names):
                raise UsageError(f"workdir '{self.folder}' holds a run on other classes: {hint}")
        path = self.folder / statistics.FILE
        if photos is not None and path.exists() and not statistics.same(load(path), photos):
            raise UsageError(
                f"workdir '{self.folder}' holds a run on other photos ({statistics.FILE} is not "
                f"that of the data): {hint}"
            )

    @contextlib.contextmanager
    def outcome(self) -> Iterator[None]:
        """Whatever ends the run inside is in its summary: the status, and the error in one line.

        Raises:
          DataError: for an OSError, such as a full disk.
        """
        try:
            yield
        except UsageError:
            raise
        except Exception as error:
            named = {"Interrupted": "interrupted", "Diverged": "diverged"}
            status = named.get(type(error).__name__, "failed")
            lines = str(error).strip().splitlines() or [type(error).__name__]
            with contextlib.suppress(OSError):  # The disk may be the reason.
                before = self.summary() or {"step": 0}
                self.write_summary({**before, "status": status, "error": lines[0]})
            if isinstance(error, OSError):
                raise DataError(f"the run cannot go on: {error}") from error
            raise

    def write_summary(self, summary: dict[str, Any]) -> None:
        """The result: summary.json."""
        if self._writes:
            write_json(self.folder / "summary.json", summary)

    def summary(self) -> dict[str, Any] | None:
        """The result of this run so far, if it has come to an end."""
        path = self.folder / "summary.json"
        return read_json(path, "status") if path.exists() else None


def read_json(path: Path, *keys: str) -> Any:
    """A run's JSON file: an object that has at least `keys`.

    Raises:
      UsageError: missing or broken.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UsageError(f"'{path.parent}' is no run directory: it has no {path.name}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read '{path}': {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"cannot read '{path}': it is no JSON object")
    if absent := [key for key in keys if key not in content]:
        raise UsageError(f"cannot read '{path}': it has no '{absent[0]}'")
    return content


def checkout() -> dict[str, Any]:
    """The commit of the package's own checkout (None outside of one), and whether it is changed."""
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git(*CHANGED)),
    }


def _git(*arguments: str) -> str | None:
    """The output of a git command in the package's own checkout, None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class MetricsLog(contextlib.AbstractContextManager):
    """A file of one JSON object a line: appended, never rewritten; no step is in it twice.

    A run that goes on from an earlier step than its last line computes the lines in between again,
    to the same bits (but for the clock's): those that are there stay.

    Raises:
      DataError: a line, other than a last one that was cut off, is broken.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.rows: dict[tuple[int, str], dict[str, Any]] = {}
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content and writes:  # A line that a crash cut off.
            os.truncate(path, len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = json.loads(line)
                self.rows[row["step"], row["split"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"'{path}' is broken in line {number}") from error
        self._writes = writes
        self._file = (path if writes else Path(os.devnull)).open("ab", buffering=0)

    def write(self, row: dict[str, Any]) -> None:
        """Appends one line; NaN is written as null."""
        key = (row["step"], row["split"])
        if key in self.rows:
            return
        self.rows[key] = row
        clean = {
            k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
        }
        line = json.dumps(clean).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)

    def result(self, step: int | None, split: str) -> dict[str, Any] | None:
        """What the summary says of the evaluation at `step`, if there was one."""
        row = self.rows.get((step, split)) if step else None
        fields = ("step", "loss", "top1_error", "top5_error", "examples")
        return row and {"selected_on": split} | {field: row[field] for field in fields}

    def cut(self, step: int) -> None:
        """Removes the lines after `step`: from there on, the run is another."""
        self.rows = {key: row for key, row in self.rows.items() if key[0] <= step}
        if self._writes:
            path = Path(self._file.name)
            lines = path.read_bytes().splitlines(keepends=True)
            os.truncate(path, sum(len(line) for line in lines if json.loads(line)["step"] <= step))

    def sync(self) -> None:
        """On disk: what a checkpoint counts as done must not be missing after a power failure."""
        if self._writes:
            os.fsync(self._file.fileno())

    def __exit__(self, *_: object) -> None:
        self._file.close()
