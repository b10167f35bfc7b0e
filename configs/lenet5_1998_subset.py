"""LeNet-5 as published, on the first 15,000 training images (1998, Fig. 6).

    lenet-alexnet data prepare mnist
    lenet-alexnet train --config=configs/lenet5_1998_subset.py --workdir=runs/lenet5_1998_15k

For the figure's other point: --config.data.train="train[:30000]"

Result: test error 1.432 +- 0.102 % on 15,000 and 1.087 +- 0.083 % on 30,000 (6 seeds each, commit
58d860b, experiments/002_lenet5_1998); the paper: 1.68 and 1.14
with an uncertainty of 0.1. So the first is below the paper's; the interval of the second is too
wide to say.
"""

import lenet5_1998


def get_config():
    config = lenet5_1998.get_config().unlock()
    config.data.train = "train[:15000]"
    return config.lock()
