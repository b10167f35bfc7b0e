"""Trains every set of this experiment, the seeds of a set side by side; needs MNIST prepared.

    python experiments/002_lenet5_1998/run.py --data_dir=D --out=runs/lenet5_1998 [SET ...]

The README beside this file has the minutes that each set took on one shared CPU core.
"""

import argparse
from pathlib import Path

from lenet_alexnet import config as configs
from lenet_alexnet import start

CONFIGS = Path(__file__).parents[2] / "configs"

# The text's initialisation (p. 41), with S2/S4 coefficients by the same rule (F = 4).
LITERAL = {
    "model.init_scale": 2.4,
    "model.init_power": 1.0,
    "model.coefficient_init": (-0.6, 0.6),
    "train.duration": "5 epochs",
}
# The first guess at the ranges, interpolated linearly.
GUESS = {
    "data.interpolation": "linear",
    "data.distort.shift": 1.5,
    "data.distort.scale": 0.1,
    "data.distort.squeeze": 0.1,
}
SETS = {
    "full": ("lenet5_1998.py", 5, {}),
    "15000": ("lenet5_1998_subset.py", 3, {}),
    "30000": ("lenet5_1998_subset.py", 3, {"data.train": "train[:30000]"}),
    "distorted": ("lenet5_1998_distorted.py", 3, {}),
    "distorted_guess": ("lenet5_1998_distorted.py", 3, GUESS),
    "literal": ("lenet5_1998.py", 3, LITERAL),
}


def main() -> None:
    """Trains the sets named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("sets", nargs="*", choices=[*SETS, []], metavar="SET")
    arguments = parser.parse_args()
    start.set_up()
    from lenet_alexnet.sweep.vmap import train_seeds

    for name in arguments.sets or SETS:
        file, seeds, overrides = SETS[name]
        config = configs.load(str(CONFIGS / file)).get_config()
        with config.unlocked():
            config.update_from_flattened_dict(overrides)
            config.data.data_dir = arguments.data_dir
        print(f"== {name}: {seeds} seeds", flush=True)
        train_seeds(config, list(range(seeds)), arguments.out / name)


if __name__ == "__main__":
    main()
