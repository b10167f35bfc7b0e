"""A data set like KMNIST, with fewer images: its official files, and what is read from them."""

import numpy as np

from lenet_alexnet.data import load_split
from tests.helpers.idx_files import write_idx

SIZES = {"train": 30, "test": 12}


def write_files(folder, rng):
    """Writes the official files; returns their folder."""
    folder.mkdir()
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = rng.integers(0, 256, (SIZES[split], 28, 28)).astype(np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images, compress=True)
        labels = rng.integers(0, 10, SIZES[split]).astype(np.uint8)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels, compress=True)
    return folder


def read(source, data_dir, split="train"):
    return load_split(
        source=source, name="kmnist", data_dir=str(data_dir), split=split, image_size=28, channels=1
    )


def multiset(data):
    return sorted(
        (label, image.tobytes()) for image, label in zip(data.images, data.labels, strict=True)
    )
