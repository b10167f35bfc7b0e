"""cuda-convnet's network of 19 % test error on CIFAR-10 (layers-19pct.cfg), 89,578 parameters.

    lenet-alexnet data prepare cifar10
    lenet-alexnet train --config=configs/cifar10_19pct.py --workdir=runs/cifar10_19pct

Three convolutions and fc10 on whole images of 32x32, without crops or reflections. Decay 3 of fc10
is intended: the rate of 0.001 multiplies it.

Not as in the source: its file has no number of epochs (here 140, with the two drops of the rate
with which layers-18pct.cfg was trained), and its images come in the same order in every epoch (here
in a new one).
"""

from lenet_alexnet import config as configs


def get_config():
    config = configs.photos()
    config.data.update(name="cifar10", image_size=32, train="train", validation="", test="test")
    config.data.photo.update(
        crop=32, mean="image", std=1.0, place="centre", flip=False, colour_noise=0.0
    )
    config.model = {"name": "cuda_convnet", "variant": "19pct", "num_classes": 10}
    config.optimizer = {
        "name": "sgd2012",
        "learning_rate": 0.001,
        "bias_rate_factor": 2.0,
        "bias_decay": False,
        "momentum": 0.9,
        "weight_decay": 0.004,
        "layer_decay": {"fc10": 3.0},
        "schedule": {"name": "steps", "boundaries": ("120 epochs", "130 epochs"), "factor": 0.1},
    }
    config.train.update(batch_size=128, duration="140 epochs", log_every="1 epoch")
    config.eval.update(every="20 epochs", batch_size=500)
    config.checkpoint.every = "1 epoch"
    return config.lock()
