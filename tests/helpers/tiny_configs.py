"""Configs for runs of a few seconds."""

from lenet_alexnet import config as configs
from tests.helpers import ROOT


def make_tiny_config():
    """A run of a few seconds: 60 steps on 300 of the embedded digits."""
    config = configs.load(str(ROOT / "configs" / "lenet5_quickstart.py")).get_config()
    with config.unlocked():
        config.data.train, config.data.test = "train[:300]", "test[:110]"
        config.train.batch_size, config.train.duration = 20, "60 steps"
        config.train.log_every, config.train.steps_per_dispatch = "10 steps", 7
        config.eval.every, config.eval.batch_size = "20 steps", 50
        config.checkpoint.every = "15 steps"
    return config


def make_tiny_1998_config():
    """The 1998 recipe for two passes over 200 digits."""
    config = configs.load(str(ROOT / "configs" / "lenet5_1998.py")).get_config()
    with config.unlocked():
        config.data.update(source="embedded", train="train[:200]", test="test[:100]")
        config.train.update(duration="2 epochs", steps_per_dispatch=64)
        config.optimizer.curvature.examples = 50
    return config


def make_photo_config(data_dir, **overrides):
    """A small AlexNet on the photos of three colours for 24 steps."""
    config = configs.load(str(ROOT / "configs" / "alexnet_imagenette.py")).get_config()
    with config.unlocked():
        config.data.update(name="mine", data_dir=str(data_dir), image_size=72)
        config.data.update(train="train[:36]", validation="train[36:]")
        config.data.photo.crop = 64
        config.model.update(num_classes=3, image_size=64, dense_width=64)
        # Narrow layers learn in so few steps if the initial weights are scaled by the fan-in.
        config.model.update(widths=(16, 16, 16, 16, 16), stds=(None,) * 8, biases=(0.1,) * 8)
        config.train.update(
            batch_size=12, duration="24 steps", log_every="4 steps", steps_per_dispatch=2
        )
        config.eval.update(every="8 steps", batch_size=5)
        config.checkpoint.every = "8 steps"
        config.optimizer.schedule.warmup = "0 steps"
        config.update_from_flattened_dict(overrides)
    return config
