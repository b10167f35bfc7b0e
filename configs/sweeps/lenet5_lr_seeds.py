"""LeNet-5 on the embedded digits: 8 learning rates, 4 seeds each, as one program.

    lenet-alexnet sweep --config=configs/sweeps/lenet5_lr_seeds.py --workdir=runs/lr --dry-run
    lenet-alexnet sweep --config=configs/sweeps/lenet5_lr_seeds.py --workdir=runs/lr

The rate is chosen on 480 of the 4,000 training digits; the test digits are not used for it.
"""

import lenet5_quickstart

from lenet_alexnet.sweep import grid, product, seeds


def get_config():
    config = lenet5_quickstart.get_config().unlock()
    config.data.train, config.data.validation = "train[:3520]", "train[3520:]"
    config.train.update(duration="20 epochs", log_every="2 epochs")
    config.eval.every = config.checkpoint.every = "5 epochs"
    return config.lock()


def sweep():
    rates = [1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 6e-3, 1e-2, 3e-2]
    return product(grid({"optimizer.learning_rate": rates}), seeds(4))
