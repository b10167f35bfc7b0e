"""LeNet-5 on MNIST with a modern recipe.

lenet-alexnet data prepare mnist
lenet-alexnet train --config=configs/lenet5_mnist.py --workdir=runs/lenet5_mnist
"""

from lenet_alexnet import config as configs


def get_config():
    config = configs.base()
    config.model = {"name": "lenet5", "activation": "relu", "num_classes": 10}
    config.optimizer = {
        "name": "adamw",
        "learning_rate": 3e-3,
        "weight_decay": 0.05,
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-8,
        "schedule": {"name": "cosine", "warmup": "3 epochs", "final": 0.0},
    }
    config.train.loss.label_smoothing = 0.1
    config.train.update(batch_size=128, duration="12 epochs", log_every="200 steps")
    return config.lock()
