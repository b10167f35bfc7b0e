"""LeNet-5 on the embedded digits: 24 random settings of five numbers, or a search by Optuna.

    lenet-alexnet sweep --config=configs/sweeps/lenet5_search.py --workdir=runs/random --halving=3
    lenet-alexnet sweep --config=configs/sweeps/lenet5_search.py --workdir=runs/tpe --search=24

All five are numbers that one program can vary, so the trials train together.
"""

import lenet5_lr_seeds

from lenet_alexnet.sweep import log_uniform, random, uniform


def get_config():
    return lenet5_lr_seeds.get_config()


def sweep():
    return random(
        24,
        0,
        {
            "optimizer.learning_rate": log_uniform(1e-3, 2e-2),
            "optimizer.weight_decay": log_uniform(1e-3, 0.3),
            "train.loss.label_smoothing": uniform(0.0, 0.2),
            "data.distort.shift": uniform(0.5, 3.0),
            "data.distort.rotation": uniform(0.0, 20.0),
        },
    )


def search(trial):
    return {
        "optimizer.learning_rate": trial.suggest_float("learning_rate", 1e-3, 2e-2, log=True),
        "optimizer.weight_decay": trial.suggest_float("weight_decay", 1e-3, 0.3, log=True),
        "train.loss.label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
        "data.distort.shift": trial.suggest_float("shift", 0.5, 3.0),
        "data.distort.rotation": trial.suggest_float("rotation", 0.0, 20.0),
    }
