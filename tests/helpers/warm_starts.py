"""Tiny runs for tests of weights to start from, layers to keep and longer runs."""

import jax

from lenet_alexnet.inference.open_run import open_run
from lenet_alexnet.training import loop
from tests.helpers.tiny_configs import make_tiny_config


def make(**overrides):
    """A tiny run at a constant rate; `schedule__name` is the entry optimizer.schedule.name."""
    config = make_tiny_config()
    with config.unlocked():
        config.optimizer.schedule = {"name": "constant"}
        config.train.update(init_from="", freeze=())
        config.update_from_flattened_dict(overrides)
    return config


def run(workdir, **overrides):
    return loop.train_and_evaluate(make(**overrides), workdir)


def params(workdir):
    return jax.device_get(open_run(workdir).variables["params"])


def bits(workdir):
    return {
        f"{layer}.{name}": leaf.tobytes()
        for layer, leaves in params(workdir).items()
        for name, leaf in leaves.items()
    }
