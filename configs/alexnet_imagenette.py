"""AlexNet on Imagenette: ten of ImageNet's classes, 9,469 photos, from scratch.

    lenet-alexnet data prepare imagenette --from=DIR
    lenet-alexnet train --config=configs/alexnet_imagenette.py --workdir=runs/imagenette

At this size it needs a GPU. On a CPU prepare with --size=128 and add

    --config.data.image_size=128 --config.data.photo.crop=112 --config.model.image_size=112 \
    --config.train.batch_size=64 --config.train.duration="8 epochs"

The paper's network with the initial weights of He et al. (2015) for inputs of unit variance: with
N(0, 0.01) everywhere and biases of 1 the loss is flat for the first epoch (experiments/017). The
last 10 % of the training photos are held out.
"""

from lenet_alexnet import config as configs


def get_config():
    config = configs.photos()
    config.data.update(name="imagenette", train="train[:90%]", validation="train[90%:]")
    config.data.photo.std = 60.0
    config.model = {
        "name": "alexnet",
        "variant": "paper",
        "num_classes": 10,
        "image_size": 224,
        "stds": (None, None, None, None, None, None, None, 0.01),
        "biases": (0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.0),
    }
    config.optimizer = {
        "name": "sgd",
        "learning_rate": 0.01,
        "scale_rule": "none",  # "linear", "sqrt": the rate is for a batch of 128 and scales with it
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0005,
        "schedule": {"name": "cosine", "warmup": "1 epoch", "final": 0.0},
    }
    config.train.update(
        batch_size=128, duration="60 epochs", log_every="0.25 epochs", steps_per_dispatch=4
    )
    config.eval.update(batch_size=100)
    return config.lock()
