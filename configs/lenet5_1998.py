"""LeNet-5 as published (LeCun et al. 1998, secs. II.B, III.A-B, appendix C).

    lenet-alexnet data prepare mnist
    lenet-alexnet train --config=configs/lenet5_1998.py --workdir=runs/lenet5_1998

Result: test error 0.937 +- 0.067 % after 20 passes (6 seeds, commit 58d860b,
experiments/002_lenet5_1998); the paper: 0.95. About five minutes a run on one CPU core.

Departures: the initial weights are uniform in +-1.7/sqrt(F), not +-2.4/F, with which the network
does not learn at the paper's steps; the biases of a unit start in the same range as its weights. E
is half of eq. 9, as in EBLearn. Both, and the initial values of S2 and S4 (which the paper leaves
open), were chosen so that the steps and the errors of the first three passes resemble the paper's;
later errors were not fitted.
"""

from lenet_alexnet import config as configs


def get_config():
    config = configs.base()
    config.data.update(
        mean=0.1 / 1.275,  # background -0.1, ink 1.175 (p. 7)
        std=1 / 1.275,
        reshuffle=False,  # "a constant random order" (p. 41)
    )
    config.model = {
        "name": "lenet5_1998",
        "init_scale": 1.7,
        "init_power": 0.5,
        "bias_init": "weights",
        "bias_in_fan_in": False,
        "coefficient_init": (0.35, 0.35),
        "subsampling_bias": 0.5,
    }
    config.optimizer = {
        "name": "sdlm",
        "learning_rate": 0.0005,
        "mu": 0.02,
        "energy": 0.5,  # E is half of eq. 9
        "curvature": {"every": "1 epoch", "examples": 500},
        "schedule": {  # eta by pass: 0.0005 x2, 0.0002 x3, 0.0001 x3, 0.00005 x4, then 0.00001
            "name": "piecewise",
            "boundaries": ("2 epochs", "5 epochs", "8 epochs", "12 epochs"),
            "values": (1.0, 0.4, 0.2, 0.1, 0.02),
        },
    }
    config.train.loss = {"name": "eq9", "j": 10.0}
    config.train.update(
        batch_size=1, duration="20 epochs", log_every="1 epoch", steps_per_dispatch=5000
    )
    return config.lock()
