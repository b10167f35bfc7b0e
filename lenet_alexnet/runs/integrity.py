"""Checkpoints as files: which exist, and whether they are whole. No JAX, no orbax.

Orbax writes a checkpoint to a temporary folder and renames it when it is complete. Just before,
the checksum of each file is written to SHA256SUMS (`sha256sum -c` reads it, too). A folder is
damaged if it has no SHA256SUMS, or if a file does not match.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lenet_alexnet.data.foreign_files import load_json
from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage

SUMS = "SHA256SUMS"
# Orbax writes these two at the very end: they must be there, but have no checksum.
METADATA, COMMITTED = "_CHECKPOINT_METADATA", "commit_success.txt"
DAMAGED = "damaged-"
# Orbax moves checkpoints here that are no longer kept: a folder that is half removed looks damaged.
REMOVED = "removed.orbax-checkpoint-tmp"


class Saved(NamedTuple):
    """One checkpoint on disk."""

    step: int
    folder: Path
    top1_error: float | None  # on the validation split, if it was evaluated

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def saved(folder: Path) -> list[Saved]:
    """The checkpoints in a run's folder `checkpoints`, newest first, damaged ones too."""
    steps = [path for path in folder.glob("*") if path.name.isdecimal() and path.is_dir()]
    found = [Saved(int(path.name), path, _top1_error(path)) for path in steps]
    return sorted(found, key=lambda one: -one.step)


def _top1_error(folder: Path) -> float | None:
    try:
        return float(load_json(folder / "metrics" / "metrics")["top1_error"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def by_error(checkpoints: list[Saved]) -> list[Saved]:
    """The evaluated checkpoints, best first; of equals the latest first."""
    evaluated = [one for one in checkpoints if one.top1_error is not None]
    return sorted(evaluated, key=lambda one: (one.top1_error, -one.step))


def write_sums(folder: Path) -> None:
    """Writes the checksums of a checkpoint's files, just before its commit."""
    lines = [f"{storage.sha256(folder / name)}  {name}\n" for name in sorted(_files(folder))]
    with storage.written_whole(folder / SUMS) as file:
        file.writelines(lines)


def problem(folder: Path) -> str | None:
    """What is wrong with a checkpoint; None if each byte is as written."""
    try:
        if not (folder / SUMS).is_file():
            return f"it has no {SUMS}"
        lines = (folder / SUMS).read_text(errors="replace").splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        files = set(_files(folder))
        if missing := sorted(sums.keys() - files):
            return f"{missing[0]} is missing"
        if strange := sorted(files - sums.keys()):
            return f"{strange[0]} is not among its checksums"
        for name, digest in sums.items():
            if storage.sha256(folder / name) != digest:
                return f"{name} is not as it was written"
        if not (folder / COMMITTED).is_file():
            return f"{COMMITTED} is missing"
        load_json(folder / METADATA)
    except OSError as error:
        return f"{Path(error.filename or folder).name} cannot be read: {error.strerror}"
    except ValueError:
        return f"{METADATA} is not as it was written"
    return None


def set_aside_damaged(folder: Path) -> list[tuple[Saved, str]]:
    """Renames the damaged checkpoints in `folder` to damaged-STEP; returns them with the reasons.

    Raises:
      DataError: there are checkpoints, but none is whole; then nothing is renamed.
    """
    checkpoints = saved(folder)
    problems = [(one, why) for one in checkpoints if (why := problem(one.folder))]
    if problems and len(problems) == len(checkpoints):
        raise none_whole(folder, *problems[0])
    for one, _ in problems:
        aside = one.folder.with_name(f"{DAMAGED}{one.step}")
        shutil.rmtree(aside, ignore_errors=True)
        one.folder.rename(aside)
    return problems


def none_whole(folder: Path, newest: Saved, why: str) -> DataError:
    """The error when every checkpoint is damaged; `why` is what is wrong with the newest."""
    return DataError(
        f"no checkpoint in '{folder}' is whole (of step {newest.step}: {why}): "
        "remove that folder to start again"
    )


def remove_unfinished(folder: Path) -> None:
    """Removes the remains of saves that failed or were killed, and what is in `REMOVED`."""
    for path in folder.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(path, ignore_errors=True)


def arrays(item: Path) -> dict[str, str]:
    """Type and shape of every array in one item of a checkpoint: {"C1.bias": "float32[6]"}.

    Raises:
      DataError: it cannot be read.
    """
    import tensorstore  # It also reads what more devices wrote than there are here.

    spec = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{item}/"}}
    found = {}
    try:
        store = tensorstore.KvStore.open(spec).result()
        for key in store.list().result():
            name, _, last = key.decode().rpartition("/")
            if last == ".zarray":
                zarr = json.loads(store.read(key).result().value)
                kind = zarr["dtype"]  # "<f4", or "bfloat16", which NumPy does not know.
                kind = str(np.dtype(kind)) if kind[0] in "<>|" else kind
                found[name] = f"{kind}{zarr['shape']}".replace(" ", "")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"cannot read '{item}': {str(error)[:200]}") from error
    return found


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        # Hidden files are made by file systems (.nfs...) and desktops.
        if path.is_file() and name not in (SUMS, METADATA, COMMITTED) and path.name[0] != ".":
            yield name
