"""Prepares photos: ImageNet 2012, Imagenette, or any class folders, as tfds ArrayRecords.

A prepared set holds square images of one size in a fixed random order, the statistics of its
training images (`statistics.npz`), and `manifest.json`: how it was made, which files were left out
and why, and which were converted.
"""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lenet_alexnet.data import raw_index
from lenet_alexnet.data.foreign_files import load_json
from lenet_alexnet.data.prepare import class_folders, durable, metadata, photo_sources, shards
from lenet_alexnet.data.prepare.known import KNOWN
from lenet_alexnet.data.prepare.photo_sources import Source
from lenet_alexnet.data.sources import prepared
from lenet_alexnet.errors import DataError, UsageError, nearest
from lenet_alexnet.runtime import storage
from lenet_alexnet.runtime.backend import own_cores
from lenet_alexnet.runtime.storage import expand

KINDS: dict[str, Callable[[str], Source]] = {
    "imagenet2012": photo_sources.imagenet2012,
    "imagenette": class_folders.imagenette,
    "folder": class_folders.read,
}
VERSIONS = {"imagenet2012": "5.1.0"}  # tfds's own
STORES = ("raw", "jpeg")
PLAN = f"{durable.PARTS}/plan.json"
SEED = 0  # of the order of the records
JPEG_BYTES = 0.5  # per pixel: 33 KB for 256x256 at quality 95
SPARE = 1 << 20  # bytes per shard for its report


def prepare(
    kind: str,
    *,
    source: str | None,
    data_dir: str,
    name: str = "",
    size: int = 256,
    store: str = "raw",
    jobs: int = 0,
) -> Path:
    """Prepares photos below `data_dir`, unless this is done; returns the data set's folder.

    Args:
      kind: imagenet2012, imagenette or folder.
      source: a folder or tar, see `photo_sources`.
      data_dir: the folder of prepared data sets.
      name: the data set's name, for kind `folder`.
      size: height and width of the images.
      store: raw (bytes, lossless, fastest) or jpeg (quality 95, a sixth of the size).
      jobs: processes; 0: one per processor.

    Raises:
      UsageError: a wrong argument, or earlier preparation with other settings. DataError: a broken
        source, too little space.
    """
    name = _name(kind, name)
    if store not in STORES:
        raise UsageError(f"unknown --store '{store}': {nearest(store, STORES)}")
    if size < 1:
        raise UsageError(f"--size={size} is not at least 1")
    version = VERSIONS.get(kind, "1.0.0")
    folder = expand(data_dir) / name / version
    if folder.exists():
        _same(folder / metadata.MANIFEST, {"size": size, "store": store}, folder)
        print(f"{name} is already prepared", file=sys.stderr)
        return folder
    if source is None:
        raise UsageError(f"--from=DIR is missing: the folder or tar of the photos of {kind}")
    found = KINDS[kind](source)
    partial = folder.with_name(f"{version}{prepared.PARTIAL}")
    plan = {"size": size, "store": store, "photos": _fingerprint(found)}
    _same(partial / PLAN, plan, partial)
    work = _shards(found, partial, name, size, store)
    _require_space(work, partial)
    with durable.alone(partial):
        with storage.written_whole(partial / PLAN) as file:
            json.dump(plan, file)
        everything = [shard for split in work.values() for shard in split]
        for path in set(partial.glob("*.array_record-*")) - {shard.path for shard in everything}:
            path.unlink()  # It was started with other settings, and its plan is lost.
            raw_index.path_of(path).unlink(missing_ok=True)
        shards.write_all(everything, jobs or len(own_cores()))
        metadata.write(partial, name, version, found, plan, work)
        durable.finish(partial, folder)
    return folder


def _name(kind: str, name: str) -> str:
    if kind != "folder":
        if name:
            raise UsageError(f"--name is for 'data prepare folder'; this one is called {kind}")
        return kind
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(f"--name='{name}' must be lower case letters, digits, _, e.g. --name=mine")
    if name in KINDS or name in KNOWN:
        raise UsageError(f"--name={name} is the name of another data set")
    return name


def _same(path: Path, wanted: dict[str, Any], folder: Path) -> None:
    """Raises UsageError if the folder was prepared, or started, with other settings.

    A lost plan is no error, as each shard's report has the shard's key.
    """
    try:
        there = load_json(path)
        there = {key: there[key] for key in wanted}
    except (OSError, ValueError, KeyError, TypeError) as error:
        if path.name != metadata.MANIFEST:
            return
        raise DataError(
            f"'{folder}' was not prepared by this program, or its {metadata.MANIFEST} is damaged: "
            "delete that folder, or name another --data_dir"
        ) from error
    for key, value in wanted.items():
        if there[key] == value:
            continue
        verb = "prepared" if path.name == metadata.MANIFEST else "started"
        how = "from other photos" if key == "photos" else f"with --{key}={there[key]}"
        raise UsageError(
            f"'{folder}' was {verb} {how}: delete that folder, or name another --data_dir"
        )


def _fingerprint(source: Source) -> str:
    """Equal for two runs on the same photos in the same order."""
    total = hashlib.sha256(repr(source.class_names).encode())
    for split, photos in source.splits.items():
        total.update(split.encode())
        for photo in photos:
            line = f"{photo.name}\0{photo.label}\0{photo.size}\n"
            total.update(line.encode(errors="surrogateescape"))
    return total.hexdigest()[:16]


def _shards(
    source: Source, folder: Path, name: str, size: int, store: str
) -> dict[str, list[shards.Shard]]:
    """The shards of each split, its photos in random order, as class folders are sorted."""
    work = {}
    for split, photos in source.splits.items():
        order = np.random.Generator(np.random.Philox(SEED)).permutation(len(photos))
        parts = shards.cut([photos[i] for i in order])
        work[split] = [
            shards.Shard(
                folder / f"{name}-{split}.array_record-{i:05}-of-{len(parts):05}",
                part,
                size,
                store,
                sums=split == "train",
            )
            for i, part in enumerate(parts)
        ]
    return work


def _require_space(work: dict[str, list[shards.Shard]], folder: Path) -> None:
    """Prints what will be written; raises DataError if it does not fit the disk."""
    everything = [shard for split in work.values() for shard in split]
    missing = [shard for shard in everything if shards.finished(shard) is None]
    size, store = everything[0].size, everything[0].store
    photo = size * size * (3 if store == "raw" else JPEG_BYTES) + 512
    need = sum(len(s.photos) for s in missing) * photo + len(missing) * (SPARE + size * size * 24)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    counts = ", ".join(f"{k} {sum(len(s.photos) for s in v):,}" for k, v in work.items())
    done = len(everything) - len(missing)
    print(
        f"{counts} photos to {size}x{size} {store}: about {need / 1e9:.1f} GB in {folder.parent}"
        + (f"; {done} of {len(everything)} shards are finished" if done else ""),
        file=sys.stderr,
    )
    if need > free:
        hint = "; --store=jpeg takes a sixth" if store == "raw" else ""
        raise DataError(
            f"'{existing}' has {free / 1e9:.1f} GB free, {need / 1e9:.1f} GB are needed{hint}"
        )
