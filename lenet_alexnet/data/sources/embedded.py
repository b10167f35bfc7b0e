"""The 5,000 MNIST digits inside the package: 4,000 for training, 1,000 for testing."""

from pathlib import Path

import numpy as np

from lenet_alexnet.data.dataset import InMemory
from lenet_alexnet.errors import UsageError

DIGITS = tuple("0123456789")


def read(split: str) -> InMemory:
    """Reads split "train" (4,000) or "test" (1,000); both come from MNIST's training split."""
    if split not in ("train", "test"):
        raise UsageError(f"the embedded digits have no split '{split}': known: test, train")
    with np.load(Path(__file__).with_name("mnist_5k.npz")) as arrays:
        return InMemory(
            arrays[f"{split}_images"], arrays[f"{split}_labels"].astype(np.int32), DIGITS
        )
