"""Data: one small interface over four sources.

`load_split` gives images and labels of one split as arrays, whatever the source:

- `embedded`: 5,000 MNIST digits inside the package, no download;
- `idx`: a folder with the four idx or idx.gz files of MNIST, Fashion-MNIST, KMNIST ...;
- `folder`: images in class folders;
- `tfds`: any data set prepared as ArrayRecord, read without TensorFlow.
"""

from lenet_alexnet.data.split import Split, load_split

__all__ = ["Split", "load_split"]
