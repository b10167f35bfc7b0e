"""AlexNet's changes one at a time: the rate and the decay of each, on held-out training images.

    lenet-alexnet data prepare cifar10
    lenet-alexnet sweep --config=configs/sweeps/cifar10_one_change.py --workdir=runs/one_change
    lenet-alexnet reproduce cifar10_one_change

The sweep tries six settings of each of fifteen networks, once. Its outcome is recorded in
experiments/020_cifar10_one_change, from where the second command takes the settings.
"""

import cifar10_19pct

from lenet_alexnet.reproduce.cifar10_one_change import SELECTION


def get_config():
    config = cifar10_19pct.get_config().unlock()
    config.data.update(train="train[:45000]", validation="train[45000:]", test="")
    config.optimizer.weight_decay = config.optimizer.layer_decay.fc10 = 0.0
    config.optimizer.schedule.boundaries = ("36 epochs", "39 epochs")
    config.train.duration = config.eval.every = "42 epochs"
    return config.lock()


def sweep():
    return SELECTION.overrides()
