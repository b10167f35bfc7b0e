"""Run by test_parallel.py on four simulated devices: a run that resumes on other numbers of them.

It prints, as JSON, the steps at which it resumed, and the largest difference of a parameter from
those of an undisturbed run on one device, as a share of the largest number in the same array.
"""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np

from lenet_alexnet import config as configs
from lenet_alexnet.errors import Interrupted
from lenet_alexnet.inference.open_run import open_run
from lenet_alexnet.runs.integrity import saved
from lenet_alexnet.training.loop import train_and_evaluate
from tests.helpers import ROOT
from tests.helpers.runs import stop_after

DEVICES = (2, 1, 4)


def main(folder: str) -> None:
    """Trains a third of the run on each number of devices, and the whole run on one."""
    config = configs.load(f"{ROOT}/tests/helpers/linear.py").get_config()
    with config.unlocked():
        config.train.update(duration="60 steps", log_every="10 steps")
        config.eval.every, config.checkpoint.every = "20 steps", "15 steps"
    elastic, whole = Path(folder) / "elastic", Path(folder) / "whole"
    first_steps = []
    for devices in DEVICES:
        first_steps.append(max((one.step for one in saved(elastic / "checkpoints")), default=0))
        stop = stop_after(3 if devices != DEVICES[-1] else 10**9)
        with contextlib.suppress(Interrupted):
            train_and_evaluate(config, elastic, devices=devices, stop_requested=stop)
    train_and_evaluate(config, whole, devices=1)
    found, wanted = (arrays(path) for path in (elastic, whole))
    worst = max(np.abs(found[n] - wanted[n]).max() / np.abs(wanted[n]).max() for n in wanted)
    print(json.dumps({"difference": float(worst), "first_steps": first_steps}))


def arrays(workdir: Path) -> dict[str, np.ndarray]:
    """The last parameters of a run, by name."""
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(open_run(workdir, checkpoint="last").variables)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


if __name__ == "__main__":
    main(*sys.argv[1:])
