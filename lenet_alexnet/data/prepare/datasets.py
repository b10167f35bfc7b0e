"""`prepare` and `check` for every data set that this program prepares, by name."""

from pathlib import Path
from typing import Any

import numpy as np

from lenet_alexnet.data import checksums, extra
from lenet_alexnet.data.prepare import builder, photos
from lenet_alexnet.data.prepare.known import KNOWN
from lenet_alexnet.data.sources import prepared
from lenet_alexnet.errors import DataError, UsageError, nearest
from lenet_alexnet.runtime import storage


def prepare(name: str, /, *, source: str | None, data_dir: str, **options: Any) -> Path:
    """Prepares data set `name` below `data_dir`, unless it is prepared; returns its folder.

    Args:
      name: mnist, fashion_mnist, kmnist or cifar10; or a kind of photos, see `photos.prepare`.
      source: a folder with the official files; None downloads them.
      data_dir: the folder of prepared data sets.
      options: of `photos.prepare`.

    Raises:
      UsageError: unknown name, options of photos, or no extra `data`. DataError: broken files, or
        no network.
    """
    if name not in (*KNOWN, *photos.KINDS):
        raise UsageError(f"unknown data set '{name}': {nearest(name, [*KNOWN, *photos.KINDS])}")
    extra.require()
    if name in photos.KINDS:
        return photos.prepare(name, source=source, data_dir=data_dir, **options)
    if options:
        raise UsageError(f"--{next(iter(options))} is for photos: {', '.join(photos.KINDS)}")
    known = KNOWN[name]
    folder = Path(data_dir).expanduser() / name / known.version
    if not folder.exists():
        builder.write(name, source, folder)
    elif not (folder / "dataset_info.json").is_file():
        raise DataError(f"'{folder}' exists but holds no prepared data set: delete it")
    elif not (folder / checksums.FILE).exists():  # as tfds itself leaves it
        try:
            builder.complete(folder, known)
        except OSError as error:
            raise DataError(f"cannot write to '{folder}': {error.strerror or error}") from error
    return folder


def check(folder: Path) -> str:
    """Verifies checksums, then reads and counts all records; returns a line with the counts.

    Raises:
      DataError: names the file or split that is wrong.
    """
    expected = checksums.read(folder)
    for name, checksum in expected.items():
        path = folder / name
        if not path.is_file() or storage.sha256(path) != checksum:
            raise DataError(f"{path} is {'damaged' if path.exists() else 'missing'}: prepare again")
    counts = []
    for split, size in prepared.sizes(folder).items():
        stored = prepared.count(folder, split)
        if stored != size:
            raise DataError(f"{folder}: split '{split}' holds {stored} examples, not {size}")
        classes = np.zeros(len(prepared.class_names(folder)), np.int64)
        for _, labels in prepared.chunks(folder, split):
            if labels.min() < 0 or labels.max() >= len(classes):
                raise DataError(f"{folder}: '{split}' has labels outside 0..{len(classes) - 1}")
            classes += np.bincount(labels, minlength=len(classes))
        counts.append(f"{split} {size:,} ({classes.min():,}-{classes.max():,} per class)")
    sums = f"{len(expected)} checksums match" if expected else "no checksums to compare"
    return f"{', '.join(counts)}; {sums}"
