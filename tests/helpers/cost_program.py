"""Run by test_cost.py in a separate process: what a narrow AlexNet exchanges on some devices.

    python -m tests.helpers.cost_program [MODE DEVICES PRECISION]...

Prints `step_cost.analyse` of each, and what each device sends by the formulas, as a JSON list.
"""

import json
import sys

from lenet_alexnet import config as configs
from lenet_alexnet.info import network, step_cost
from lenet_alexnet.models import create_model
from lenet_alexnet.runtime import backend
from tests.helpers import ROOT


def main(*cases: str) -> None:
    """Compiles each case."""
    backend.simulate_devices(8)
    results = []
    for mode, devices, precision in zip(cases[::3], cases[1::3], cases[2::3], strict=True):
        config = configs.load(str(ROOT / "configs" / "alexnet_imagenet.py")).get_config().unlock()
        config.update(precision=precision)
        config.model.update(image_size=64, num_classes=8, dense_width=64)
        config.data.update(image_size=72)
        config.data.photo.crop, config.parallel.mode = 64, mode.removesuffix("+turns")
        config.parallel.turns = mode.endswith("+turns")
        config.train.update(batch_size=16, precision=precision)
        result = step_cost.analyse(config, int(devices))
        model = create_model(precision=precision, **config.model)
        size = step_cost.sizes(model, network.describe(model, model.input_shape))
        result["sent_by_formula"] = step_cost.formula_sent(result["mode"], size, int(devices), 16)
        results.append(result)
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
