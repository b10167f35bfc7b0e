"""Pooling: average of 2x2, maximum of 2x2, maximum of overlapping 3x3; all halve the maps.

lenet-alexnet sweep --config=configs/sweeps/cifar10_pooling.py --workdir=runs/pooling
lenet-alexnet reproduce alexnet_pooling --scale=small
"""

import cifar10_convnet

from lenet_alexnet.sweep import grid, product, seeds


def get_config():
    return cifar10_convnet.get_config()


def sweep():
    return product(grid({"model.pooling": ["average", "2/2", "3/2"]}), seeds(3))
