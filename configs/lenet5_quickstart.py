"""LeNet-5 on the 5,000 digits inside the package: no download, under a minute on a laptop.

make train
lenet-alexnet train --config=configs/lenet5_quickstart.py --workdir=runs/quickstart
"""

from lenet_alexnet import config as configs


def get_config():
    config = configs.base()
    config.data.source = "embedded"
    config.data.distort.update(shift=2.0, scale=0.1, rotation=10.0, shear=0.1)
    config.model = {"name": "lenet5", "activation": "tanh", "num_classes": 10}
    config.optimizer = {
        "name": "adamw",
        "learning_rate": 3e-3,
        "weight_decay": 0.01,
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-8,
        "schedule": {"name": "cosine", "warmup": "2 epochs", "final": 0.0},
    }
    config.train.update(batch_size=64, duration="40 epochs", log_every="2 epochs")
    config.eval.every = "4 epochs"
    config.checkpoint.every = "10 epochs"
    return config.lock()
