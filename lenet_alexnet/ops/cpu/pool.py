"""Pooling of maps in the layouts that are fast on CPUs."""

from lenet_alexnet.ops.cpu import folded, vectors
from lenet_alexnet.ops.layouts import Folded, Maps, Vectors


def average_pool(x: Maps, size: int) -> Maps | None:
    """The means of size x size windows, in the same layout; None: use the plain form."""
    if isinstance(x, Vectors):
        return vectors.average(x, size)
    if isinstance(x, Folded) and x.side % size == 0:
        return folded.average(x, size)
    return None


def max_pool(x: Maps, *, size: int, stride: int, ceil: bool) -> Maps | None:
    """The largest of each size x size window, in the same layout; None: use another form."""
    if isinstance(x, Vectors) and stride <= size:  # else a last window could lie beyond the edge
        return vectors.max_pool(x, size=size, stride=stride, ceil=ceil)
    return None
