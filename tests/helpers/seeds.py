"""The quickstart with three seeds, as a sweep for tests."""

from lenet_alexnet import config as configs
from tests.helpers import ROOT


def get_config():
    return configs.load(f"{ROOT}/configs/lenet5_quickstart.py").get_config()


def sweep():
    return [{"seed": seed} for seed in range(3)]
