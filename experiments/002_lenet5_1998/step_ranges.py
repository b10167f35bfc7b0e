"""The range of the first pass's steps for many seeds, by initial weights and E.

    python experiments/002_lenet5_1998/step_ranges.py [DATA_DIR]

Writes step_ranges.csv: the smallest and the largest of eta / (mu + h) before the first pass, h from
500 of the first 50,000 training images. The paper has 7e-5 and 0.016 (p. 10).
"""

import csv
import dataclasses
import sys
from pathlib import Path

import jax

from lenet_alexnet import config as configs
from lenet_alexnet.optimizers.sdlm import curvature, step_report, step_sizes
from lenet_alexnet.training.experiment import build

HERE = Path(__file__).parent
SEEDS = 32
# init_scale, S2/S4 coefficient, bound of S2/S4's biases, factor on E; the first settings first.
CHOICES = [
    (1.5, 0.25, 0.75, 1.0),
    (1.5, 0.35, 0.75, 1.0),
    (1.5, 0.35, 0.5, 1.0),
    (1.5, 0.35, 0.5, 0.5),
    (1.7, 0.35, 0.5, 0.5),
]


def main(data_dir: str) -> None:
    """One line for each choice and seed."""
    config = configs.load(str(HERE.parents[1] / "configs" / "lenet5_1998.py")).get_config()
    config.data.update(data_dir=data_dir, train="train[:50000]", test="")
    with (HERE / "step_ranges.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            [
                "init_scale",
                "coefficient",
                "subsampling_bias",
                "energy",
                "seed",
                "smallest",
                "largest",
            ]
        )
        for scale, coefficient, bias, energy in CHOICES:
            config.model.update(
                init_scale=scale,
                coefficient_init=(coefficient, coefficient),
                subsampling_bias=bias,
            )
            config.optimizer.energy = energy
            e = build(config)
            model, mu = e.model, e.optimizer.curvature.mu

            @jax.jit
            def h(key, images, model=model, preprocess=e.preprocess):
                x = preprocess(images, None)
                return curvature(model, model.init(key, x[:1])["params"], x)

            for seed in range(SEEDS):
                key = jax.random.split(jax.random.key(seed))[0]
                e = dataclasses.replace(e, order=e.order.with_seed(seed))
                index = e.curvature_index(0)
                sizes = step_sizes(h(key, e.train_data.images[index]), e.rate(0), mu, energy)
                found = step_report(sizes)["all"]
                row = [f"{found['min']:.3g}", f"{found['max']:.3g}"]
                writer.writerow([scale, coefficient, bias, energy, seed, *row])


if __name__ == "__main__":
    main(*(sys.argv[1:] or [""]))
