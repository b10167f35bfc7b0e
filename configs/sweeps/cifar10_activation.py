"""Fig. 1 of Krizhevsky et al. 2012 on a small scale: epochs to 25 % training error, by activation.

    lenet-alexnet sweep --config=configs/sweeps/cifar10_activation.py --workdir=runs/activation
    lenet-alexnet reproduce alexnet_fig1 --scale=small

The sweep tries several learning rates for each activation with one seed. The one with the fewest
epochs to 25 %, the quantity compared (experiments/009_fig1_activations/select_rates.py), goes into
lenet_alexnet/reproduce/cifar10_small.py, which has the seeds. No regularisation and a
constant rate, as in the paper; 3,000 training images.
"""

import cifar10_convnet

from lenet_alexnet.sweep import grid, product


def get_config():
    config = cifar10_convnet.get_config().unlock()
    config.data.train = "train[:3000]"
    config.optimizer.weight_decay = 0.0
    config.optimizer.schedule = {"name": "constant"}
    config.train.duration = config.eval.every = config.checkpoint.every = "20 epochs"
    return config.lock()


def sweep():
    rates = {
        "relu": (0.003, 0.005, 0.009, 0.015, 0.03),
        "tanh": (0.01, 0.017, 0.03, 0.05, 0.1),
        "sigmoid": (0.03, 0.09, 0.3),
    }
    return [
        override
        for activation, tried in rates.items()
        for override in product(
            [{"model.activation": activation, "seed": 100}],
            grid({"optimizer.learning_rate": tried}),
        )
    ]
