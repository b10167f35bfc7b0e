"""The fully connected networks of LeCun et al. 1998, Fig. 9 (secs. III.C.1, III.C.5-6).

    lenet-alexnet data prepare mnist
    lenet-alexnet train --config=configs/mlp_1998.py --workdir=runs/mlp_1998
    lenet-alexnet reproduce lenet5_fig9_mlp     # all of them, and lenet5_fig9_linear

The paper: 28x28-300-10 4.7 %, 1000 4.5, 300-100 3.05, 500-150 2.95, linear (hidden=()) 12.0. Ours:
3.23 +- 0.10, 3.27 +- 0.19, 2.18 +- 0.07, 2.10 +- 0.05, 11.47 +- 0.14 (3 seeds, commit cac296c,
experiments/008_fig9_classifiers), half a minute to one minute a run on one CPU core.

The paper trained them with the optimizer of its appendix C and gives neither rates nor targets.
Departures: batches of 10 and 10 passes, for time; the rate was chosen on held-out training images;
targets +1 and -1 after the output's activation, as in LeNet-1.
"""

import lenet5_1998


def get_config():
    config = lenet5_1998.get_config().unlock()
    config.model = {
        "name": "mlp_1998",
        "hidden": (300,),
        "init_scale": 1.5,
        "init_power": 0.5,
        "bias_init": "weights",
        "bias_in_fan_in": False,
    }
    config.data.pad = 0
    config.train.loss = {"name": "eq8"}
    config.train.update(batch_size=10, duration="10 epochs", steps_per_dispatch=500)
    config.optimizer.update(learning_rate=0.002, energy=1.0)
    return config.lock()
