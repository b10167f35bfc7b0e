"""Run by test_parallel.py in a separate process with a given number of devices.

Trains a few steps as the loop does and prints the results as JSON.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np

from lenet_alexnet import config as configs
from lenet_alexnet.info.collectives import collectives
from lenet_alexnet.training.compiled import compile_run
from lenet_alexnet.training.experiment import build
from tests.helpers import ROOT


def main(file: str, workdir: str, steps: str, overrides: str) -> None:
    """Compiles and trains; the parameters go to workdir/params.npz."""
    config = configs.load(str(ROOT / "configs" / file)).get_config()
    with config.unlocked():
        config.update_from_flattened_dict(json.loads(overrides))
    Path(workdir).mkdir(parents=True, exist_ok=True)
    compiled, state = compile_run(config, build(config))
    state, sums = compiled.prepare(state, 0, int(steps))()
    leaves = jax.tree_util.tree_leaves_with_path(state.params)
    params = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    np.savez(Path(workdir) / "params.npz", **params)
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim]
    report = {
        "devices": len(jax.devices()),
        "loss": float(sums.loss),
        "collectives": [c._asdict() for c in collectives(compiled.steps.program(False).as_text())],
        "moment_bytes_here": sum(leaf.addressable_shards[0].data.nbytes for leaf in moments),
        "param_bytes": sum(leaf.nbytes for leaf in params.values()),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
