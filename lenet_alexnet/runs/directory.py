"""A run's folder and its JSON files: config, run, summary."""

import contextlib
import importlib.metadata
import json
import os
import platform
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lenet_alexnet import __version__
from lenet_alexnet import config as configs
from lenet_alexnet.data.foreign_files import load_json
from lenet_alexnet.data.preprocess import statistics
from lenet_alexnet.data.preprocess.statistics import Statistics, load
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.runs import lock
from lenet_alexnet.runs.checkout import checkout
from lenet_alexnet.runtime import storage

# In a run's folder; files in them are created and removed.
FOLDERS = ("checkpoints", "tensorboard", "wandb", "mlflow", "profile")


def write_json(path: Path, content: Any) -> None:
    """Writes a file whole or not at all."""
    with storage.written_whole(path) as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.write("\n")


class RunDirectory:
    """One run's folder; opened again with the same config, the run resumes."""

    def __init__(
        self,
        folder: Path,
        config: Any,
        *,
        writes: bool = True,
        held: lock.Held | None = None,
        may_grow: bool = False,
    ) -> None:
        """Creates the folder, or verifies that it holds a run of this config.

        Args:
          folder: the run's folder.
          config: the run's config.
          writes: whether this process writes; of several, one does.
          held: the lock of the folder.
          may_grow: `train.duration` may differ; then `former_duration` is the run's so far.

        Raises:
          UsageError: not a folder, not writable, or of another config (the differences are shown).
        """
        self.folder, self.config, self._writes, self._held = folder, config, writes, held
        self._run: dict[str, Any] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"workdir '{folder}' is not writable: {error.strerror}") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"workdir '{folder}' is not writable")
        for name in FOLDERS:
            if (folder / name).is_symlink():
                raise UsageError(f"'{folder / name}' is a link: its target may not belong to a run")
        self.former_duration = compare(folder, config, may_grow=may_grow)

    def check(self) -> None:
        """Raises DataError if the folder is no longer there, or no longer this run's."""
        if self._held is not None:
            self._held.check()

    def begun(self) -> dict[str, Any]:
        """run.json, if the run has begun; else {}."""
        path = self.folder / "run.json"
        kinds = {"data": dict, "switches": dict, "init_from": dict, "ended": list, "conv_form": str}
        return read_json(path, **kinds) if path.exists() else {}

    def begin(
        self,
        class_names: Sequence[str],
        photos: Statistics | None = None,
        decides: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes config.json, run.json (code, versions, machine, command) and statistics.npz.

        Args:
          class_names: of the training data.
          photos: the mean image and colours of the training photos, if the config needs them;
            with them, the run can be used without its data.
          decides: the facts that decide the bits, see `fingerprint.facts`.

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
        self._run = {
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
            **(decides or {}),
        }
        write_json(self.folder / "run.json", self._run)

    def note_loops(self, used: bool | None) -> None:
        """Adds to run.json whether the loops in C++ were used, see `native.noted`."""
        if self._run and used is not None and self._run.get("loops") != used:
            self._run["loops"] = used
            write_json(self.folder / "run.json", self._run)

    def _same_data(self, class_names: Sequence[str], photos: Statistics | None) -> None:
        """Raises UsageError if the run has other photos, or, without fingerprint, other classes."""
        before, path, what = self.begun(), self.folder / statistics.FILE, ""
        if "data" not in before and list(before.get("class_names") or class_names) != list(
            class_names
        ):
            what = "other classes"
        elif photos is not None and path.exists() and not statistics.same(load(path), photos):
            what = f"other photos ({statistics.FILE} is not that of the data)"
        if what:
            hint = "name its first data or another workdir"
            raise UsageError(f"workdir '{self.folder}' holds a run on {what}: {hint}")

    @contextlib.contextmanager
    def outcome(self) -> Iterator[None]:
        """Writes an error inside to the summary: the status, and the error in one line.

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
            with contextlib.suppress(OSError, DataError):  # These may be the cause.
                before = self.summary() or {"step": 0}
                self.write_summary({**before, "status": status, "error": lines[0]})
            if isinstance(error, OSError):
                raise DataError(f"the run cannot continue: {error}") from error
            raise

    def write_summary(self, summary: dict[str, Any]) -> None:
        """The result: summary.json."""
        if self._writes:
            self.check()
            write_json(self.folder / "summary.json", summary)

    def summary(self) -> dict[str, Any] | None:
        """The result of this run so far; None if it has not ended."""
        path = self.folder / "summary.json"
        return read_summary(path) if path.exists() else None


def compare(folder: Path, config: Any, *, may_grow: bool) -> str:
    """The former `train.duration` of a folder's run if it alone differs and may grow, else "".

    Raises:
      UsageError: the folder holds a run of another config (the differences are shown).
    """
    if not (folder / "config.json").exists():
        return ""
    before = read_json(folder / "config.json")
    changed = configs.differences(before, config.to_dict())
    former = configs.flatten(before).get("train.duration")
    grows = may_grow and [line.partition(": ")[0] for line in changed] == ["train.duration"]
    if grows and former and isinstance(former, str):
        return former
    if changed:
        raise UsageError(
            f"workdir '{folder}' holds a run of another config ({'; '.join(changed)}): "
            "name another workdir"
        )
    return ""


def read_summary(path: Path) -> dict[str, Any]:
    """summary.json: at least the status; if the run was completed, also its result.

    Raises:
      UsageError: missing, broken or incomplete.
    """
    summary = read_json(path, "status", status=str, step=int, best=dict)
    if summary["status"] == "diverged":
        read_json(path, "step")
    if summary["status"] == "completed":
        needed = {"step": int, "epoch": float, "train_seconds": float, "eval": dict}
        read_json(path, *needed, **needed)
        for split, result in summary["eval"].items():
            if not isinstance(result, dict) or not all(
                isinstance(result.get(key), int | float) for key in ("top1_error", "examples")
            ):
                raise UsageError(f"cannot read '{path}': its result on '{split}' is incomplete")
    return summary


def read_json(path: Path, *keys: str, **kinds: type) -> Any:
    """A run's JSON file: an object with at least `keys`.

    Args:
      path: the file.
      keys: required entries.
      kinds: types of entries that are present and not null; a float may be an int.

    Raises:
      UsageError: missing or broken.
    """
    try:
        content = load_json(path)
    except FileNotFoundError as error:
        raise UsageError(f"'{path.parent}' is no run directory: it has no {path.name}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read '{path}': {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"cannot read '{path}': it is no JSON object")
    if absent := [key for key in keys if key not in content]:
        raise UsageError(f"cannot read '{path}': it has no '{absent[0]}'")
    for key, kind in kinds.items():
        value, accepted = content.get(key), (int, float) if kind is float else kind
        if (key in keys or value is not None) and not isinstance(value, accepted):
            raise UsageError(f"cannot read '{path}': '{key}' is {value!r:.40}")
    return content
