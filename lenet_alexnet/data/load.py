"""`load_split`: the images and labels of one split of one source, as arrays."""

import re
from collections.abc import Callable

import numpy as np

from lenet_alexnet.data.class_names import check_same
from lenet_alexnet.data.dataset import InMemory
from lenet_alexnet.data.sources import embedded, folder, idx, prepared
from lenet_alexnet.errors import DataError, UsageError, nearest


def load_split(
    *, source: str, name: str, data_dir: str, split: str, image_size: int, channels: int
) -> InMemory:
    """Loads `split` ("train", "train[:50000]", "train[-10%:]", "a+b") of a data set.

    Args:
      source: embedded | idx | folder | tfds.
      name: the data set's name, for tfds only.
      data_dir: the folder of the files (idx, folder) or of prepared data sets (tfds).
      split: one or several named splits, each with an optional slice in examples or percent.
      image_size: height and width that images must have; `folder` resizes to it.
      channels: 1 (grey) or 3 (RGB); `folder` converts to it.

    Raises:
      UsageError: unknown source, split or data set. DataError: missing or broken files.
    """
    readers: dict[str, Callable[[str], InMemory]] = {
        "embedded": embedded.read,
        "idx": lambda base: idx.read(data_dir, base),
        "folder": lambda base: folder.read(data_dir, base, image_size, channels),
        "tfds": lambda base: prepared.read(name, data_dir, base),
    }
    if source not in readers:
        raise UsageError(f"unknown data.source '{source}': {nearest(source, readers)}")
    parts = [_read_part(readers[source], part.strip()) for part in split.split("+")]
    for part in parts[1:]:
        check_same(part.class_names, parts[0].class_names, f"a part of '{split}'", "its first part")
    whole = InMemory(
        np.concatenate([part.images for part in parts]) if len(parts) > 1 else parts[0].images,
        np.concatenate([part.labels for part in parts]) if len(parts) > 1 else parts[0].labels,
        parts[0].class_names,
        tuple(name for part in parts for name in part.names),
    )
    _check(whole, split, image_size, channels)
    return whole


def _read_part(reader: Callable[[str], InMemory], part: str) -> InMemory:
    """One term of a split expression: a split's name and an optional slice."""
    bound = r"(-?[0-9]{1,15}%?)?"  # No data set is longer, and int() fails on very long numbers.
    match = re.fullmatch(rf"(\w+)(?:\[{bound}:{bound}\])?", part)
    if match is None:
        raise UsageError(f"'{part}' is not a split: write e.g. train, train[:50000], test[-10%:]")
    base, start, stop = match.groups()
    whole = reader(base)
    window = slice(_bound(start, len(whole)), _bound(stop, len(whole)))
    return InMemory(
        whole.images[window], whole.labels[window], whole.class_names, whole.names[window]
    )


def _bound(text: str | None, size: int) -> int | None:
    """A slice's bound in examples; percentages are rounded to the nearest example, as in tfds."""
    if text is None:
        return None
    return round(int(text[:-1]) * size / 100) if text.endswith("%") else int(text)


def _check(data: InMemory, split: str, image_size: int, channels: int) -> None:
    if not len(data):
        raise DataError(f"split '{split}' holds no examples")
    expected = (image_size, image_size, channels)
    if data.image_shape != expected:
        raise DataError(
            f"split '{split}' holds images of {data.image_shape}, but data.image_size and "
            f"data.channels say {expected}"
        )
    low, high = int(data.labels.min()), int(data.labels.max())
    if low < 0 or high >= len(data.class_names):
        raise DataError(
            f"split '{split}' has a label {low if low < 0 else high} outside "
            f"0..{len(data.class_names) - 1}"
        )
