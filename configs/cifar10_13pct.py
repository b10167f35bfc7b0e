"""cuda-convnet's network of 13 % test error (layers-conv-local-13pct.cfg), 1,116,490 parameters.

    lenet-alexnet data prepare cifar10
    lenet-alexnet train --config=configs/cifar10_13pct.py --workdir=runs/cifar10_13pct

Two convolutions, two local layers and fc10, on 24x24 crops and their reflections; the error is that
of the mean of ten views. Sec. 3.3 of the AlexNet paper means this network ("13 %").

Departure: all 50,000 images from the first epoch on. The source trained 100 epochs on batches 1 to
4, validated on batch 5, and trained 40 more on all five; then ten at each of two lower rates.
"""

import cifar10_19pct


def get_config():
    config = cifar10_19pct.get_config().unlock()
    config.model.variant = "13pct"
    config.data.photo.update(crop=24, place="random", flip=True)
    config.optimizer.weight_decay = 0.0
    config.optimizer.layer_decay = {"local3": 0.004, "local4": 0.004, "fc10": 0.004}
    config.optimizer.schedule.boundaries = ("140 epochs", "150 epochs")
    config.train.duration = "160 epochs"
    config.eval.views = 10
    return config.lock()
