"""The small data sets that are prepared from their official files: MNIST, relatives, CIFAR-10."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lenet_alexnet.data.dataset import InMemory
from lenet_alexnet.data.prepare import cifar10
from lenet_alexnet.data.sources import idx
from lenet_alexnet.errors import DataError

SPLITS = {"train": 60_000, "test": 10_000}  # of MNIST and its relatives
FILES = tuple(
    f"{prefix}-{kind}-ubyte.gz"
    for prefix in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)


def _digits(folder: str | Path) -> dict[str, InMemory]:
    """The splits of the four idx files in `folder`."""
    splits = {split: idx.read(folder, split) for split in SPLITS}
    for split, data in splits.items():
        if data.images.shape != (SPLITS[split], 28, 28, 1):
            raise DataError(
                f"split '{split}' in '{folder}' is {data.images.shape}, the official files hold "
                f"{SPLITS[split]} images of 28x28"
            )
    return splits


class Known(NamedTuple):
    """A data set that this program prepares.

    Attributes:
      url: of the official files, without their names.
      class_names: of its ten classes.
      title: its content, for the description.
      files: the names of the official files.
      read: (the files' folder) -> its splits.
      version: tfds's.
      shape: of an image.
      numbered: records have an `id` (train_00000) and keep the order of the files.
    """

    url: str
    class_names: tuple[str, ...]
    title: str
    files: tuple[str, ...] = FILES
    read: Callable[[str | Path], dict[str, InMemory]] = _digits
    version: str = "3.0.1"
    shape: tuple[int, int, int] = (28, 28, 1)
    numbered: bool = False


DIGITS = tuple("0123456789")
GARMENTS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
HIRAGANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

KNOWN = {
    "mnist": Known(
        "https://storage.googleapis.com/cvdf-datasets/mnist/", DIGITS, "handwritten digits"
    ),
    "fashion_mnist": Known(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", GARMENTS, "garments"
    ),
    "kmnist": Known("http://codh.rois.ac.jp/kmnist/dataset/kmnist/", HIRAGANA, "cursive hiragana"),
    "cifar10": Known(
        "https://www.cs.toronto.edu/~kriz/",
        cifar10.CLASSES,
        "small photos",
        cifar10.TARS[:1],
        cifar10.read,
        "3.0.2",
        (32, 32, 3),
        numbered=True,
    ),
}
# The addresses are those in tfds, whose checksums are used.
