"""A small convolutional network on 5,000 images of CIFAR-10: half a minute on a CPU.

    lenet-alexnet data prepare cifar10
    lenet-alexnet train --config=configs/cifar10_convnet.py --workdir=runs/cifar10

The network sees the central 24x24 pixels, without augmentation. Each file of
configs/sweeps/cifar10_*.py changes one thing; experiments/009 to 015 have the results. The rate is
the best one for ReLU in sweeps/cifar10_activation.py, by the training error; the test images chose
nothing.
"""

from lenet_alexnet import config as configs


def get_config():
    config = configs.photos()
    config.data.update(
        name="cifar10", image_size=32, train="train[:5000]", validation="", test="test"
    )
    config.data.photo.update(
        crop=24, mean="channel", std=60.0, place="centre", flip=False, colour_noise=0.0
    )
    config.model = {
        "name": "convnet",
        "num_classes": 10,
        "image_size": 24,
        "widths": (8, 16, 32),
        "dense_width": 0,
        "activation": "relu",
        "pooling": "2/2",
        "response_norm": 0.0,
        "dropout": 0.0,
    }
    config.optimizer = {
        "name": "sgd",
        "learning_rate": 0.009,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0005,
        "schedule": {"name": "cosine", "warmup": "1 epoch", "final": 0.0},
    }
    config.train.update(batch_size=50, duration="12 epochs", log_every="1 epoch")
    config.eval.update(every="12 epochs", batch_size=500)
    config.checkpoint.every = "12 epochs"
    return config.lock()
