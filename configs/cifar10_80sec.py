"""cuda-convnet's network of 26 % test error in 80 seconds (layers-80sec.cfg), 145,578 parameters.

    lenet-alexnet data prepare cifar10
    lenet-alexnet train --config=configs/cifar10_80sec.py --workdir=runs/cifar10_80sec

Three convolutions, a dense layer of 64 units and fc10, on whole images. The number of epochs is not
in the file. In 80 seconds a GPU of that time did about nine: 140 epochs of the network of 18 %,
with as many multiply-adds, took 20 minutes. Here the last of the nine has a tenth of the rate.
"""

import cifar10_19pct


def get_config():
    config = cifar10_19pct.get_config().unlock()
    config.model.variant = "80sec"
    config.optimizer.layer_decay = {"fc64": 0.03, "fc10": 0.03}
    config.optimizer.schedule.boundaries = ("8 epochs",)
    config.train.duration = "9 epochs"
    config.eval.every = "1 epoch"
    return config.lock()
