"""Depth: 2 to 5 convolutions with equal parameters (8,922 within 2 %).

lenet-alexnet sweep --config=configs/sweeps/cifar10_depth.py --workdir=runs/depth
lenet-alexnet reproduce cifar10_depth --scale=small
"""

import cifar10_convnet

from lenet_alexnet.reproduce.cifar10_small import DEPTHS
from lenet_alexnet.sweep import grid, product, seeds


def get_config():
    return cifar10_convnet.get_config()


def sweep():
    return product(grid({"model.widths": list(DEPTHS.values())}), seeds(3))
