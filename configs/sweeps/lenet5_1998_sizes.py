"""LeNet-5 as published by training-set size: the runs behind Figs. 5 and 6 of LeCun et al. 1998.

    lenet-alexnet data prepare mnist
    lenet-alexnet sweep --config=configs/sweeps/lenet5_1998_sizes.py --workdir=runs/sizes

Fig. 5 is the curve over the passes at 60,000 patterns, Fig. 6 the error after 20 passes by size:
the paper has 1.68, 1.14 and 0.95 % on the test digits, and 0.82 with distortions. No choice is
made here, so only the test digits are evaluated.
"""

import lenet5_1998
import lenet5_1998_distorted

from lenet_alexnet.sweep import grid, product, seeds


def get_config():
    return lenet5_1998.get_config()


def sweep():
    sizes = grid({"data.train": ["train[:15000]", "train[:30000]", "train"]})
    data = lenet5_1998_distorted.get_config().data
    distorted = {
        "data.variants": data.variants,
        "data.interpolation": data.interpolation,
        **{f"data.distort.{name}": value for name, value in data.distort.items()},
    }
    return [*product(sizes, seeds(3)), *product([distorted], seeds(3))]
