"""Local response normalisation: none, the paper's alpha of 1e-4, and 0.36.

    lenet-alexnet sweep --config=configs/sweeps/cifar10_lrn.py --workdir=runs/lrn
    lenet-alexnet reproduce alexnet_lrn --scale=small

The paper's inputs are on the scale 0..255, ours are divided by 60, and alpha multiplies squares:
0.36 = 1e-4 * 60^2 corresponds to the paper's 1e-4 as long as the weights are the same.
"""

import cifar10_convnet

from lenet_alexnet.sweep import grid, product, seeds


def get_config():
    return cifar10_convnet.get_config()


def sweep():
    return product(grid({"model.response_norm": [0.0, 1e-4, 0.36]}), seeds(3))
