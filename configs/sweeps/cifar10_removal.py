"""Removal: AlexNet's convolutions with a sixteenth of the maps, and without each one in turn.

lenet-alexnet sweep --config=configs/sweeps/cifar10_removal.py --workdir=runs/removal
lenet-alexnet reproduce alexnet_depth --scale=small
"""

import cifar10_convnet

from lenet_alexnet.reproduce.cifar10_small import REMOVALS
from lenet_alexnet.sweep import grid, product, seeds


def get_config():
    return cifar10_convnet.get_config()


def sweep():
    return product(grid({"model.widths": list(REMOVALS.values())}), seeds(3))
