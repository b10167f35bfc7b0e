"""Mean image and colour covariance of a training set: exact sums, merged in any order.

`statistics.npz`, in the folder of a prepared data set and of a run on it, holds for the training
images (0..255): `images` (their number), `mean_image` float32 [h,w,3] (2012, sec. 2), and of the
RGB of all pixels `colour_mean` [3], `eigenvalues` [3] (largest first) and `eigenvectors` [3,3]
(columns; sec. 4.1).
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from lenet_alexnet.data.foreign_files import load_arrays
from lenet_alexnet.data.sources import prepared
from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage

FILE = "statistics.npz"
AT_ONCE = 1 << 21  # bytes of small images that are added together


class Statistics(NamedTuple):
    """The statistics for secs. 2 and 4.1 of the 2012 paper, on the scale 0..255."""

    images: int
    mean_image: Float32[np.ndarray, "h w 3"]
    colour_mean: Float64[np.ndarray, " 3"]
    eigenvalues: Float64[np.ndarray, " 3"]
    eigenvectors: Float64[np.ndarray, "3 3"]


class Sums:
    """Integer sums over images of one shape; the result does not depend on the order."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.count = 0
        self.image = np.zeros(shape, np.int64)  # per pixel and colour
        self.products = np.zeros((3, 3), np.int64)  # of the colours of each pixel

    def add(self, images: UInt8[np.ndarray, "n h w 3"]) -> None:
        """Adds some images."""
        self.count += len(images)
        for image in images:
            self.image += image
        # float64 holds integers up to 2^53 exactly: up to 10^11 pixels at once.
        planes = np.ascontiguousarray(images.reshape(-1, 3).T).astype(np.float64)
        for i in range(3):
            for j in range(i, 3):
                # Not @, whose threads would compete with the other workers.
                product = int(np.einsum("i,i->", planes[i], planes[j]))
                self.products[i, j] += product
                self.products[j, i] = self.products[i, j]

    def merge(self, other: "Sums") -> None:
        """Adds the sums of another."""
        self.count += other.count
        self.image += other.image
        self.products += other.products

    def finish(self) -> Statistics:
        """The statistics of all added images."""
        pixels = self.image.shape[0] * self.image.shape[1] * self.count
        mean = self.image.sum((0, 1)) / pixels
        covariance = self.products / pixels - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[::-1], vectors[:, ::-1]
        # The sign is free: the largest entry of each vector is made positive.
        largest = np.abs(vectors).argmax(0)
        vectors = vectors * np.sign(vectors[largest, np.arange(3)])
        mean_image = (self.image / self.count).astype(np.float32)
        return Statistics(self.count, mean_image, mean, values.clip(min=0), vectors)


def compute(images: UInt8[np.ndarray, "n h w 3"]) -> Statistics:
    """The statistics of images in memory, e.g. of a sub-split; DataError if there are none."""
    if not len(images):
        raise DataError("no images to take the mean of")
    sums, at_once = Sums(images.shape[1:]), max(1, AT_ONCE // images[0].size)
    for start in range(0, len(images), at_once):
        sums.add(images[start : start + at_once])
    return sums.finish()


def same(a: Statistics, b: Statistics) -> bool:
    """Whether both are of the same images: equal sums, eigenvalues equal up to rounding."""
    sums = a.images == b.images and np.array_equal(a.mean_image, b.mean_image)
    return sums and np.allclose(a.eigenvalues, b.eigenvalues, rtol=1e-6)


def save(folder: Path, statistics: Statistics) -> None:
    """Writes `statistics.npz`, whole or not at all."""
    with storage.written_whole(folder / FILE, "wb") as file:
        np.savez(file, **statistics._asdict())


def load(path: Path) -> Statistics:
    """What `save` wrote; DataError if it is damaged."""
    try:
        arrays = load_arrays(path)
        values: dict[str, Any] = {key: arrays[key] for key in Statistics._fields}
        return Statistics(**(values | {"images": int(values["images"])}))
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"cannot read '{path}': it is damaged") from error


def load_statistics(name: str, data_dir: str) -> Statistics:
    """The statistics of a prepared data set.

    Raises:
      UsageError, DataError: no such data set, prepared without statistics, or a damaged file.
    """
    path = prepared.find(name, data_dir) / FILE
    if not path.exists():
        raise DataError(f"'{path.parent}' has no {FILE}: it was not prepared as photos")
    try:
        return load(path)
    except DataError as error:
        raise DataError(f"{error}: prepare again") from error
