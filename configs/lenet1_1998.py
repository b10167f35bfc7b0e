"""LeNet-1, of 2,578 parameters (LeCun et al. 1998, sec. III.C.4), with LeNet-5's recipe.

    lenet-alexnet data prepare mnist
    lenet-alexnet train --config=configs/lenet1_1998.py --workdir=runs/lenet1_1998

The paper: 1.7 % on 16x16 digits centred in the 28x28 input. Ours: 1.25 +- 0.11 %
(3 seeds, commit 3b2aa66, experiments/008_fig9_classifiers), a minute or two a run on one CPU core.

Departures: our digits are the files' own, 20x20 in 28x28; the initial weights are those of
LeNet-5's first runs, and E is that of eqs. 7 to 9, as in the runs of the figure above.
"""

import lenet5_1998


def get_config():
    config = lenet5_1998.get_config().unlock()
    config.model.name = "lenet1"
    config.model.update(init_scale=1.5, coefficient_init=(0.25, 0.25), subsampling_bias=0.75)
    config.optimizer.energy = 1.0
    config.data.pad = 0
    return config.lock()
