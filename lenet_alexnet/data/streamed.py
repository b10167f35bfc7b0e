"""`Streamed`: a large prepared data set, whose examples are read from disk by index."""

import bisect
import copy
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Int32, UInt8

from lenet_alexnet.data import checksums
from lenet_alexnet.data.records import Records
from lenet_alexnet.data.sources import prepared
from lenet_alexnet.errors import DataError, UsageError, nearest
from lenet_alexnet.runtime.backend import own_cores


class Streamed:
    """A `Dataset` on disk: the records of a split, or of a part of one (`train[:90%]`).

    Attributes:
      folder: of the prepared data set.
      class_names: the names of the K classes.
      image_shape: [h, w, 3].
      arrays: None, as they are not in memory.

    Raises:
      UsageError: no such data set or split. DataError: not prepared as photos, or damaged.
    """

    arrays = None

    def __init__(self, name: str, data_dir: str, split: str) -> None:
        self.folder = prepared.find(name, data_dir)
        builder = prepared.open_builder(self.folder)
        features = builder.info.features
        shape = tuple(features["image"].shape) if "image" in features else ()
        if len(shape) != 3 or None in shape or "label" not in features:
            raise DataError(f"'{self.folder}' holds no images of one size: prepare it as photos")
        self.image_shape: tuple[int, int, int] = shape
        self.class_names: tuple[str, ...] = tuple(features["label"].names)
        self._files = _files(builder, split)
        self._ends = list(itertools.accumulate(file.take for file in self._files))
        if not self._ends:
            raise DataError(f"split '{split}' of '{self.folder}' holds no examples")
        raw = type(features["image"]).__name__ == "Tensor"
        self._records = [Records(Path(file.filename), raw=raw) for file in self._files]

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def read_threads(self) -> int:
        """One per processor."""
        return len(own_cores())

    @property
    def parts(self) -> list[tuple[Path, int, int]]:
        """Each file, how many of its records are before the split's part, and how many in it."""
        return [(Path(file.filename), file.skip, file.take) for file in self._files]

    def fingerprint(self) -> str:
        """A hash of the files' checksums, which were written when they were prepared."""
        try:
            sums = checksums.read(self.folder)
        except DataError:
            sums = {}
        parts = []
        for path, skip, take in self.parts:
            parts.append((path.name, skip, take, sums.get(path.name) or path.stat().st_size))
        content = repr((self.image_shape, self.class_names, parts))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def with_class_names(self, class_names: tuple[str, ...]) -> "Streamed":
        """The same examples with other class names."""
        other = copy.copy(self)
        other.class_names = class_names
        return other

    def read(
        self, index: Int[np.ndarray, " n"] | Sequence[int]
    ) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, " n"]]:
        """Images and labels of the indexed records.

        Raises:
          IndexError: no such record. DataError: it is damaged.
        """
        images = np.empty((len(index), *self.image_shape), np.uint8)
        labels = np.empty(len(index), np.int32)
        self.read_into(index, images, labels)
        return images, labels

    def read_into(
        self,
        index: Int[np.ndarray, " n"] | Sequence[int],
        images: UInt8[np.ndarray, "n h w c"],
        labels: Int32[np.ndarray, " n"],
    ) -> None:
        """As `read`, into arrays that exist: new memory costs as much time as reading."""
        for row, i in enumerate(index):
            records, record = self._place(int(i))
            try:
                labels[row] = records.read_into(record, images[row])
            except DataError:
                raise
            except Exception as error:  # Decoders raise many kinds.
                reason = " ".join(str(error).split())[:200]
                raise DataError(f"cannot decode record {i} of '{self.folder}': {reason}") from error
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.class_names):
            raise DataError(
                f"'{self.folder}' has labels outside 0..{len(self.class_names) - 1}: prepare again"
            )

    def _place(self, i: int) -> tuple[Records, int]:
        """The file of example i, and the number of its record there."""
        if not 0 <= i < len(self):
            raise IndexError(f"record {i} of {len(self)}")
        k = bisect.bisect_right(self._ends, i)
        file = self._files[k]
        return self._records[k], file.skip + i - (self._ends[k] - file.take)


def _files(builder: Any, split: str) -> list[Any]:
    """The files of a split expression, as tfds resolves it: filename, skip, take."""
    from tensorflow_datasets.core.data_sources import base

    try:
        return base.file_instructions(builder.info, split)
    except (ValueError, AssertionError, KeyError) as error:
        known = list(builder.info.splits)
        hint = nearest(split.split("[")[0], known)
        raise UsageError(f"no split '{split}' in '{builder.data_dir}': {hint}") from error
