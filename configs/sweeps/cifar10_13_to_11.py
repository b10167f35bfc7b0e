"""What made 13 % into 11 % on CIFAR-10, one difference at a time: the rate of each network.

    lenet-alexnet data prepare cifar10
    lenet-alexnet sweep --config=configs/sweeps/cifar10_13_to_11.py --workdir=runs/13_to_11
    lenet-alexnet reproduce cifar10_13_to_11

The sweep's outcome is recorded in experiments/019_cifar10_13_to_11, from where the second command
takes the rates.
"""

import cifar10_13pct

from lenet_alexnet.reproduce.cifar10_13_to_11 import SELECTION


def get_config():
    config = cifar10_13pct.get_config().unlock()
    config.data.update(train="train[:45000]", validation="train[45000:]", test="")
    config.train.duration = config.eval.every = "40 epochs"
    return config.lock()


def sweep():
    return SELECTION.overrides()
