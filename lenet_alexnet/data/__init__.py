"""Labelled images: the rest of the program uses them as a `Dataset`.

`load_split` reads one split of a source into memory:

- `embedded`: 5,000 MNIST digits inside the package, no download;
- `idx`: a folder with the four idx or idx.gz files of MNIST, Fashion-MNIST, KMNIST ...;
- `folder`: images in class folders;
- `tfds`: a data set prepared as ArrayRecord files, read without TensorFlow.

`streamed.Streamed` reads single examples of a prepared data set from disk.
"""

from lenet_alexnet.data.dataset import Dataset, InMemory
from lenet_alexnet.data.load import load_split

__all__ = ["Dataset", "InMemory", "load_split"]
