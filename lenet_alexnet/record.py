"""What a run leaves behind (config, run, metrics, summary), and the progress bar."""

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from lenet_alexnet import __version__
from lenet_alexnet import config as configs
from lenet_alexnet.errors import UsageError


def write_json(path: Path, content: Any) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
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

    def begin(self, class_names: Sequence[str]) -> None:
        """Writes config.json, and run.json: what runs, with what, where."""
        import jax

        if not self._writes:
            return
        write_json(self.folder / "config.json", self.config.to_dict())
        packages = ("jax", "jaxlib", "flax", "optax")
        write_json(
            self.folder / "run.json",
            {
                "package_version": __version__,
                "git_commit": _git("rev-parse", "HEAD"),
                "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
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

    def write_summary(self, summary: dict[str, Any]) -> None:
        """The result: summary.json."""
        if self._writes:
            write_json(self.folder / "summary.json", summary)

    def summary(self) -> dict[str, Any] | None:
        """The result of this run so far, if it has come to an end."""
        path = self.folder / "summary.json"
        return read_json(path) if path.exists() else None


def read_json(path: Path) -> Any:
    """A run's JSON file.

    Raises:
      UsageError: missing or broken.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UsageError(f"'{path.parent}' is no run directory: it has no {path.name}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read '{path}': {error}") from error


def _git(*arguments: str) -> str | None:
    """The output of a git command in the package's own checkout, None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class MetricsLog(contextlib.AbstractContextManager):
    """A file of one JSON object a line: appended, never rewritten; no step is in it twice."""

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        rows = []
        if path.exists():
            text = path.read_text()
            whole = text[: text.rfind("\n") + 1]
            if whole != text and writes:  # A line that a crash cut off.
                os.truncate(path, len(whole.encode()))
            rows = [json.loads(line) for line in whole.splitlines()]
        self.rows = {(row["step"], row["split"]): row for row in rows}
        self._file: TextIO = (path if writes else Path(os.devnull)).open("a")

    def write(self, row: dict[str, Any]) -> None:
        """Appends one line; NaN is written as null."""
        key = (row["step"], row["split"])
        if key in self.rows:
            return
        self.rows[key] = row
        clean = {
            k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
        }
        self._file.write(json.dumps(clean) + "\n")
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        self._file.close()
