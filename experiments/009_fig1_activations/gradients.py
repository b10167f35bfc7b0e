"""The gradient's norm in each layer before training, by activation and depth, as gradients.csv.

python experiments/009_fig1_activations/gradients.py

The initial weights of configs/sweeps/cifar10_activation.py, three seeds, one batch of 256 images of
CIFAR-10's training set as `lenet-alexnet data prepare` left them (--data_dir: where). The net of
the training runs with four layers, and one with eight convolutions.
"""

import argparse
import csv
import sys
from pathlib import Path

import jax
import numpy as np
import optax

from lenet_alexnet import config as configs
from lenet_alexnet.models import create_model
from lenet_alexnet.training import builders

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "configs" / "sweeps" / "cifar10_activation.py"
NETS = {4: (8, 16, 32), 9: (8, 16, 32, 32, 32, 32, 32, 32)}  # by layers of weights


def main() -> None:
    """Writes a row for each net, activation, seed and layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="")
    config = configs.load(str(CONFIG)).get_config().unlock()
    config.data.data_dir = parser.parse_args().data_dir
    config.data.train = "train[:256]"
    data = builders.load(config, config.data.train)
    images = jax.jit(builders.build_preprocess(config))(data.images, None)
    writer = csv.writer((HERE / "gradients.csv").open("w", newline=""), lineterminator="\n")
    writer.writerow(("layers", "activation", "seed", "layer", "gradient_norm", "weight_norm"))
    for layers, widths in NETS.items():
        for activation in ("relu", "tanh", "sigmoid"):
            options = dict(config.model) | {"widths": widths, "activation": activation}
            for seed in range(3):
                for row in norms(create_model(**options), images, data.labels, seed):
                    writer.writerow((layers, activation, seed, *row))
    print(f"written: {HERE / 'gradients.csv'}", file=sys.stderr)


def norms(
    model: object, images: jax.Array, labels: np.ndarray, seed: int
) -> list[tuple[str, str, str]]:
    """(layer, norm of its kernel's gradient, norm of its kernel) in the order of the layers."""

    @jax.jit
    def run(key: jax.Array) -> tuple:
        params = model.init(key, images)["params"]

        def loss(params: dict) -> jax.Array:
            logits = model.apply({"params": params}, images)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        return params, jax.grad(loss)(params)

    params, gradient = run(jax.random.key(seed))
    order = sorted(params, key=lambda name: (name == "output", name))
    return [
        (name, *(f"{np.linalg.norm(tree[name]['kernel']):.6g}" for tree in (gradient, params)))
        for name in order
    ]


if __name__ == "__main__":
    main()
