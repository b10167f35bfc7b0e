"""Augmentation: none; crops and reflections; these and the colours' principal components.

    lenet-alexnet sweep --config=configs/sweeps/cifar10_augmentation.py --workdir=runs/augmentation
    lenet-alexnet reproduce alexnet_crops --scale=small

"validation" is a part of the training images without augmentation: it chooses nothing, and measures
the training error. With a hidden layer, so that there is overfitting.
"""

import cifar10_convnet

from lenet_alexnet.reproduce.cifar10_small import AUGMENTATIONS
from lenet_alexnet.sweep import product, seeds


def get_config():
    config = cifar10_convnet.get_config().unlock()
    config.model.dense_width = 128
    config.data.validation = "train[:2000]"
    config.train.duration = config.checkpoint.every = "20 epochs"
    config.eval.every = "4 epochs"
    return config.lock()


def sweep():
    return product(AUGMENTATIONS.values(), seeds(3))
