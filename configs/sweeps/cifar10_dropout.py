"""Dropout of half of a hidden layer's units, or of none: curves of overfitting.

    lenet-alexnet sweep --config=configs/sweeps/cifar10_dropout.py --workdir=runs/dropout
    lenet-alexnet reproduce alexnet_dropout --scale=small

The curves are of held-out training images; the test images are used once.
"""

import cifar10_convnet

from lenet_alexnet.sweep import grid, product, seeds


def get_config():
    config = cifar10_convnet.get_config().unlock()
    config.model.dense_width = 128
    config.data.validation = "train[45000:47000]"
    config.optimizer.weight_decay = 0.0
    config.train.duration = config.checkpoint.every = "20 epochs"
    config.eval.every = "2 epochs"
    return config.lock()


def sweep():
    return product(grid({"model.dropout": [0.0, 0.5]}), seeds(3))
