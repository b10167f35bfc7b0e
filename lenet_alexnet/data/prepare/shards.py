"""Writes photos as ArrayRecord shards, in parallel; another run writes only missing shards.

A shard is written under a temporary name and renamed, then its report (`parts/SHARD.npz`: counts,
sums, and what was left out or converted): a shard with a report is finished. A run that resumes
compares its size and checksum with the report.
"""

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from lenet_alexnet.data import image_files, raw_index, stored_images
from lenet_alexnet.data.foreign_files import load_arrays
from lenet_alexnet.data.prepare import durable, workers
from lenet_alexnet.data.prepare.photo_sources import Photo
from lenet_alexnet.data.preprocess.statistics import Sums
from lenet_alexnet.data.sources import tf_example
from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage

LARGEST, FEWEST, SMALLEST = 4096, 16, 256  # photos per shard, shards, photos per shard


class Shard(NamedTuple):
    """The photos of one file, and how they are stored."""

    path: Path
    photos: Sequence[Photo]
    size: int
    store: str
    sums: bool  # whether it is part of the statistics

    @property
    def report(self) -> Path:
        """The path of its report, which exists once the shard is finished."""
        return self.path.parent / durable.PARTS / f"{self.path.name}.npz"

    @property
    def key(self) -> str:
        """Differs for shards of other photos, or of the same photos stored in another way."""
        photos = [(photo.name, photo.label, photo.size) for photo in self.photos]
        content = repr((photos, self.size, self.store, self.sums))
        return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()


class Report(NamedTuple):
    """The result of writing a shard's photos."""

    key: str  # of the shard
    stored: int
    size: int  # of the file in bytes
    checksum: str  # sha256
    left_out: dict[str, str]
    converted: dict[str, str]
    sums: Sums | None


def cut(photos: Sequence[Photo]) -> list[Sequence[Photo]]:
    """The photos of each shard, of equal numbers up to 1.

    At least 16 shards keep the processors busy, unless shards get smaller than 256 photos. With at
    most 4096 photos per shard, ImageNet's 313 shards can all be open at once.
    """
    count = len(photos)
    shards = min(-(-count // SMALLEST), max(FEWEST, -(-count // LARGEST)))
    bounds = [count * i // shards for i in range(shards + 1)]
    return [photos[a:b] for a, b in itertools.pairwise(bounds)]


def write_all(shards: Sequence[Shard], jobs: int) -> None:
    """Writes the unfinished `shards` with `jobs` processes, showing a progress bar.

    Raises:
      DataError: the source cannot be read or the disk is full; finished shards stay.
    """
    missing = _without_whole(shards, jobs)
    total = sum(len(shard.photos) for shard in shards)
    done = total - sum(len(shard.photos) for shard in missing)
    with tqdm(total=total, initial=done, unit=" photos", disable=None) as bar:
        if min(jobs, len(missing)) < 2:
            for shard in missing:
                write(shard, bar.update)
        else:
            workers.run(write, missing, jobs, lambda n: bar.update(done + n - bar.n))


def finished(shard: Shard) -> Report | None:
    """The report of a finished shard, without its sums; None if there is none."""
    try:
        text = str(load_arrays(shard.report)["text"])
        key, stored, size, checksum, left_out, converted = json.loads(text)
        report = Report(key, stored, size, checksum, left_out, converted, sums=None)
        there = report.key == shard.key and shard.path.stat().st_size == report.size
    except (OSError, ValueError, TypeError, KeyError, RecursionError, DataError):
        return None  # Truncated, or from another version: the shard is written again.
    return report if there else None


def _without_whole(shards: Sequence[Shard], jobs: int) -> list[Shard]:
    """The shards to write: not finished, or changed since."""
    reports = [finished(shard) for shard in shards]
    if any(reports):
        print("checking the finished shards", file=sys.stderr)

    def whole(shard: Shard, report: Report | None) -> bool:
        return report is not None and storage.sha256(shard.path) == report.checksum

    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(whole, shards, reports))
    return [shard for shard, there in zip(shards, done, strict=True) if not there]


def write(shard: Shard, advance: Callable[[int], Any]) -> None:
    """Writes one shard and its report; calls `advance(1)` after every photo."""
    from array_record.python.array_record_module import ArrayRecordWriter

    aside = shard.path.with_name(f".{shard.path.name}.{os.getpid()}")
    left_out: dict[str, str] = {}
    converted: dict[str, str] = {}
    sums = Sums((shard.size, shard.size, 3)) if shard.sums else None
    try:
        writer = ArrayRecordWriter(str(aside), "group_size:1,uncompressed")
        for photo in shard.photos:
            content = photo.read()
            try:
                image, notes = image_files.standardise(content, shard.size, photo.name)
            except image_files.UnusableError as error:
                left_out[photo.name] = str(error)
            else:
                stored: bytes = image.tobytes()
                if shard.store == "jpeg":
                    stored = stored_images.encode_jpeg(image)
                    image = stored_images.decode(stored)  # The sums are of what is read back.
                writer.write(tf_example.encode(tf_example.Example(stored, photo.label, photo.name)))
                if sums is not None:
                    sums.add(image[None])
                if notes:
                    converted[photo.name] = ", ".join(notes)
            advance(1)
        writer.close()
        if shard.store == "raw" and (index := raw_index.build(aside)) is not None:
            _save(raw_index.path_of(shard.path), index)
        checksum, size = storage.sha256(aside), aside.stat().st_size
        storage.settle(aside, shard.path)
        count = len(shard.photos) - len(left_out)
        _save_report(shard, Report(shard.key, count, size, checksum, left_out, converted, sums))
    except (OSError, RuntimeError) as error:  # The extension raises RuntimeError.
        raise DataError(
            f"cannot write {shard.path}: {' '.join(str(error).split())[:200]}. What is finished "
            "stays: run the same command again"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def _save_report(shard: Shard, report: Report) -> None:
    arrays = {"text": np.array(json.dumps(report[:-1]))}
    if report.sums is not None:
        arrays |= {"image": report.sums.image, "products": report.sums.products}
    _save(shard.report, arrays)


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        storage.settle(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_report(shard: Shard) -> Report:
    """The report of a finished shard, with its sums."""
    report = finished(shard)
    if report is None:
        raise DataError(f"{shard.report} is damaged: run the same command again")
    if not shard.sums:
        return report
    sums = Sums((shard.size, shard.size, 3))
    with np.load(shard.report) as arrays:
        sums.count, sums.image, sums.products = report.stored, arrays["image"], arrays["products"]
    return report._replace(sums=sums)
