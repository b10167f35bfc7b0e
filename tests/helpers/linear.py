"""A run of the linear classifier on the embedded digits: hardly anything to compile."""

from lenet_alexnet import config as configs
from tests.helpers import ROOT


def get_config():
    config = configs.load(f"{ROOT}/configs/mlp_1998.py").get_config().unlock()
    config.model.hidden = ()
    config.optimizer = {"name": "sgd", "learning_rate": 0.001, "schedule": {"name": "constant"}}
    config.data.update(source="embedded", train="train[:300]", test="test[:110]")
    config.train.update(batch_size=20, duration="100000 steps", log_every="100 steps")
    config.train.steps_per_dispatch = 10
    config.eval.update(every="1000 steps", batch_size=50)
    config.checkpoint.every = "100 steps"
    return config.lock()
