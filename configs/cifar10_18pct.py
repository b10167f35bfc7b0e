"""cuda-convnet's network of 18 % test error on CIFAR-10 (layers-18pct.cfg), 89,578 parameters.

    lenet-alexnet data prepare cifar10
    lenet-alexnet train --config=configs/cifar10_18pct.py --workdir=runs/cifar10_18pct

The network of cifar10_19pct.py with response normalisation within each map after pool1 and pool2
(3x3, scale 5e-5, power 0.75), and decay 1 instead of 3 for fc10.
"""

import cifar10_19pct


def get_config():
    config = cifar10_19pct.get_config().unlock()
    config.model.variant = "18pct"
    config.optimizer.layer_decay = {"fc10": 1.0}
    return config.lock()
