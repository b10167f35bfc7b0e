"""Large prepared data sets: records by number, and a run's batches read ahead of it.

Position is the step alone: batch s is what `data/order.py` says it is, as for data in memory.
"""

import bisect
import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from lenet_alexnet.data import pixels
from lenet_alexnet.data.order import Order
from lenet_alexnet.data.sources import example, tfds
from lenet_alexnet.errors import DataError, UsageError, nearest
from lenet_alexnet.runtime.backend import own_cores

# Measured: neither reading ahead nor larger buffers help reading at random.
OPTIONS, BUFFER = "readahead_buffer_size:0,max_parallelism:0", 32768


class Photos:
    """The records of a split, or of a part of one (`train[:90%]`), by their number.

    Attributes:
      class_names: the names of the K classes.
      image_shape: [h, w, 3].

    Raises:
      UsageError: no such data set or split. DataError: not prepared as photos, or damaged.
    """

    def __init__(self, name: str, data_dir: str, split: str) -> None:
        self.folder = tfds.find(name, data_dir)
        builder = tfds.open_builder(self.folder)
        features = builder.info.features
        shape = tuple(features["image"].shape) if "image" in features else ()
        if len(shape) != 3 or None in shape or "label" not in features:
            raise DataError(f"'{self.folder}' holds no images of one size: prepare it as photos")
        self.image_shape: tuple[int, int, int] = shape
        self.class_names = tuple(features["label"].names)
        self.raw = type(features["image"]).__name__ == "Tensor"
        self._files = _files(builder, split)
        self._ends = list(itertools.accumulate(file.take for file in self._files))
        if not self._ends:
            raise DataError(f"split '{split}' of '{self.folder}' holds no examples")
        self._readers: list[Any] = [None] * len(self._files)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def parts(self) -> list[tuple[Path, int, int]]:
        """Each file, how many of its records come before the split's, and how many are its."""
        return [(Path(file.filename), file.skip, file.take) for file in self._files]

    def read(
        self, index: Int32[np.ndarray, " n"] | Sequence[int]
    ) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, " n"]]:
        """Images and labels of the numbered records; from several threads at once if wanted."""
        images = np.empty((len(index), *self.image_shape), np.uint8)
        labels = np.empty(len(index), np.int32)
        for row, i in enumerate(index):
            record = self._record(int(i))
            try:
                images[row], labels[row] = self._decode(record)
            except Exception as error:  # Decoders raise many kinds.
                reason = " ".join(str(error).split())[:200]
                raise DataError(f"cannot decode record {i} of '{self.folder}': {reason}") from error
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.class_names):
            raise DataError(
                f"'{self.folder}' has labels outside 0..{len(self.class_names) - 1}: prepare again"
            )
        return images, labels

    def _decode(self, record: bytes) -> tuple[np.ndarray, int]:
        stored, label = example.decode(record)
        if self.raw:
            return np.frombuffer(stored, np.uint8).reshape(self.image_shape), label
        return pixels.decode(stored), label

    def _record(self, i: int) -> bytes:
        if not 0 <= i < len(self):
            raise IndexError(f"record {i} of {len(self)}")
        k = bisect.bisect_right(self._ends, i)
        file = self._files[k]
        # One at a time: lists of records cost twice as much, in fresh memory for each.
        position = file.skip + i - (self._ends[k] - file.take)
        try:
            return self._reader(k).read([position])[0]
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"cannot read record {position} of {file.filename}: {reason}"
            ) from error

    def _reader(self, k: int) -> Any:
        from array_record.python.array_record_module import ArrayRecordReader

        with self._lock:
            if self._readers[k] is None:
                path = str(self._files[k].filename)
                self._readers[k] = ArrayRecordReader(path, OPTIONS, file_reader_buffer_size=BUFFER)
            return self._readers[k]


def _files(builder: Any, split: str) -> list[Any]:
    """The files of a split expression, as tfds cuts it: filename, skip, take."""
    from tensorflow_datasets.core.data_sources import base

    try:
        return base.file_instructions(builder.info, split)
    except (ValueError, AssertionError, KeyError) as error:
        known = list(builder.info.splits)
        hint = nearest(split.split("[")[0], known)
        raise UsageError(f"no split '{split}' in '{builder.data_dir}': {hint}") from error


def batches(
    photos: Photos, order: Order, start_step: int, count: int, *, process_index: int = 0,
    process_count: int = 1, threads: int = 0, prefetch: int = 4,
) -> Iterator[tuple[UInt8[np.ndarray, "b h w c"], Int32[np.ndarray, " b"]]]:  # fmt: skip
    """Images and labels of `count` steps from `start_step` on, read ahead in threads by Grain.

    Args:
      photos: what to read.
      order: of just these photos.
      start_step: the first step; any, at no cost.
      count: how many.
      process_index: which contiguous share of each batch is ours.
      process_count: how many shares there are.
      threads: batches being read at once, one a thread; 0: one a processor for JPEG, whose
        decoding runs in parallel, and 2 for raw, whose reading does not.
      prefetch: finished batches that may wait.

    Raises:
      UsageError: a batch cannot be shared evenly. DataError: damaged records.
    """
    import grain

    if order.size != len(photos):
        raise UsageError(f"an order of {order.size} examples for {len(photos)} photos")
    share, rest = divmod(order.batch_size, process_count)
    if rest:
        raise UsageError(
            f"a batch of {order.batch_size} is not shared by {process_count} processes"
        )
    mine = slice(process_index * share, (process_index + 1) * share)
    lock = threading.Lock()

    def read(step: int) -> tuple[np.ndarray, np.ndarray]:
        with lock:  # An order keeps the epochs it used last: one thread at a time.
            index = order.batches(int(step), 1)[0, mine]
        return photos.read(index)

    steps = grain.MapDataset.range(start_step, start_step + count).map(read)
    threads = threads or (2 if photos.raw else len(own_cores()))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, prefetch))
    return iter(steps.to_iter_dataset(options))
