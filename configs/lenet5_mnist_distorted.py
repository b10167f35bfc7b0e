"""LeNet-5 on MNIST with random affine distortions of every image.

lenet-alexnet data prepare mnist
lenet-alexnet train --config=configs/lenet5_mnist_distorted.py --workdir=runs/distorted
"""

import lenet5_mnist


def get_config():
    config = lenet5_mnist.get_config().unlock()
    config.data.distort.update(shift=2.0, scale=0.15, squeeze=0.1, shear=0.2, rotation=12.0)
    config.train.duration = "30 epochs"
    return config.lock()
