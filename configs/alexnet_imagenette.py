"""AlexNet on Imagenette: ten of ImageNet's classes, 9,469 photos, from scratch.

lenet-alexnet data prepare imagenette --from=DIR
lenet-alexnet train --config=configs/alexnet_imagenette.py --workdir=runs/imagenette
"""

from lenet_alexnet import config as configs


def get_config():
    config = configs.photos()
    config.data.update(name="imagenette", train="train[:90%]", validation="train[90%:]")
    config.model = {"name": "alexnet", "variant": "paper", "num_classes": 10, "image_size": 224}
    config.optimizer = {
        "name": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0005,
        "schedule": {"name": "cosine", "warmup": "1 epoch", "final": 0.0},
    }
    config.train.update(
        batch_size=128, duration="30 epochs", log_every="0.25 epochs", steps_per_dispatch=4
    )
    config.eval.update(batch_size=100)
    return config.lock()
