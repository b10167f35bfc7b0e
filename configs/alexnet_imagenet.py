"""AlexNet on ImageNet as the paper describes it (Krizhevsky et al. 2012, secs. 2 to 5).

    lenet-alexnet data prepare imagenet2012 --from=DIR    # the two official tars
    lenet-alexnet train --config=configs/alexnet_imagenet.py --workdir=runs/alexnet
    lenet-alexnet eval --workdir=runs/alexnet --split=validation --views=10

Expected: 40.7 % top-1 and 18.2 % top-5 error on the validation images, mean of 10 views (the paper,
Table 2). Not measured here: the network, the update, the crops and the colour noise are tested,
and a small run on ten classes is in experiments/; ImageNet itself has not been trained.

The rate is divided by 10 when the validation error stalls, three times. Here a rule reads the error
of the centre view after each epoch; in 2012 a person decided.
"""

from lenet_alexnet import config as configs


def get_config():
    config = configs.photos()
    config.data.update(name="imagenet2012", stream=True)
    config.model = {
        "name": "alexnet",
        "variant": "paper",
        "num_classes": 1000,
        "image_size": 224,
    }
    config.optimizer = {
        "name": "sgd2012",
        "learning_rate": 0.01,
        "scale_rule": "none",  # "linear", "sqrt": the rate is for a batch of 128 and scales with it
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "schedule": {"name": "constant"},
        "plateau": {"patience": 3, "min_improvement": 0.001, "factor": 0.1, "drops": 3},
    }
    config.train.update(
        batch_size=128, duration="90 epochs", log_every="500 steps", steps_per_dispatch=8
    )
    config.checkpoint.minutes = 15.0
    return config.lock()
