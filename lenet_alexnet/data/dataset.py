"""`Dataset`, the interface of a data set, and `InMemory`, which holds it as arrays."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Int32, UInt8

SUMMED_BYTES = 2**28  # In splits with more image bytes only every n-th image is summed.
HASHED_IMAGES = 64


@runtime_checkable
class Dataset(Protocol):
    """The labelled images of one split, read by index 0..N-1.

    `InMemory` holds them as arrays, `streamed.Streamed` reads them from disk.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels (1 or 3) of every image."""

    @property
    def arrays(self) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, " n"]] | None:
        """All images and labels, if they are in memory; None if they are read from disk."""

    @property
    def read_threads(self) -> int:
        """With how many threads `read` is fastest."""

    def __len__(self) -> int:
        """The number of examples."""

    def read(
        self, index: Int[np.ndarray, " n"] | Sequence[int]
    ) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, " n"]]:
        """Images 0..255 and labels 0..K-1 of the indexed examples; thread-safe.

        Raises:
          IndexError: no such example. DataError: it is damaged.
        """

    def fingerprint(self) -> str:
        """16 hexadecimal digits, equal for equal data; computed within milliseconds."""

    def with_class_names(self, class_names: tuple[str, ...]) -> "Dataset":
        """The same examples with other class names."""


@dataclasses.dataclass(frozen=True, eq=False)
class InMemory:
    """A `Dataset` in memory.

    Attributes:
      images: 0..255, NHWC, C = 1 or 3.
      labels: 0..K-1.
      class_names: the names of the K classes.
      names: of the files, if each image has one.
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int32[np.ndarray, " n"]
    class_names: tuple[str, ...]
    names: tuple[str, ...] = ()
    read_threads = 1

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    @property
    def arrays(self) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, " n"]]:
        """All images and labels."""
        return self.images, self.labels

    def read(
        self, index: Int[np.ndarray, " n"] | Sequence[int]
    ) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, " n"]]:
        """Images and labels of the indexed examples; IndexError if there is no such example."""
        rows = np.asarray(index, np.int32)
        return self.images[rows], self.labels[rows]

    def fingerprint(self) -> str:
        """A hash of all labels, the sums of images, and some whole images."""
        images = self.images[:: 1 + self.images.nbytes // SUMMED_BYTES]
        rows = images.reshape(len(images), -1)
        if rows.shape[1] % 8 == 0 and rows.flags.c_contiguous:
            rows = rows.view(np.uint64)  # Ten times as fast as bytes.
        some = self.images[:: 1 + len(self) // HASHED_IMAGES]
        found = hashlib.sha256(repr((self.images.shape, self.class_names)).encode())
        for array in (self.labels.astype("<i4"), rows.sum(1, dtype=np.uint64), some):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:16]

    def with_class_names(self, class_names: tuple[str, ...]) -> "InMemory":
        """The same examples with other class names."""
        return dataclasses.replace(self, class_names=class_names)


def read_into(
    data: Dataset,
    index: Int[np.ndarray, " n"] | Sequence[int],
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int32[np.ndarray, " n"],
) -> None:
    """`data.read`, into arrays that exist.

    A data set that can do so without new memory has a method `read_into`, which is called instead.
    """
    own = getattr(data, "read_into", None)
    if own:
        own(index, images, labels)
    else:
        images[:], labels[:] = data.read(index)
