"""The sweep of cifar10_activation.py with small initial weights in the softmax layer: N(0, 0.01).

    lenet-alexnet sweep --config=configs/sweeps/cifar10_activation_small_output.py --workdir=runs/a

With the weights of He et al. (2015) in that layer too, a ReLU network's first logits are large, and
so are its gradients (experiments/009_fig1_activations/gradients.csv). Does the order depend on
that?
"""

import cifar10_activation

from lenet_alexnet.sweep import grid, product


def get_config():
    config = cifar10_activation.get_config().unlock()
    config.model.output_std = 0.01
    return config.lock()


def sweep():
    rates = {"relu": (0.009, 0.015, 0.03, 0.05, 0.1), "tanh": (0.017, 0.03, 0.05, 0.1)}
    return [
        override
        for activation, tried in rates.items()
        for override in product(
            [{"model.activation": activation, "seed": 100}],
            grid({"optimizer.learning_rate": tried}),
        )
    ]
