"""AlexNet as the source of 2012 trained it: run 145, which gave the paper's numbers.

    lenet-alexnet data prepare imagenet2012 --from=DIR
    lenet-alexnet train --config=configs/alexnet_2012.py --workdir=runs/alexnet_2012
    lenet-alexnet eval --workdir=runs/alexnet_2012 --split=validation --views=10

Expected: 40.66 % top-1 and 18.21 % top-5 error on the validation images, mean of 10 views
(layer-params-145.cfg). Not measured here.

Where it differs from the paper's text: LRN divides alpha by the window and comes before the first
ReLU, a second, spatial normalisation follows the second LRN, conv3 to conv5 start at 0.03, crop and
reflection are shared by 32 images, the centre of the mean image is subtracted from every crop, the
image is divided by 1.1 while there is colour noise, batches are the same in every epoch, biases
have a separate constant rate, conv1 is slowed at epoch 67 and frozen at 72, and the noise ends at
67.
"""

import alexnet_imagenet


def get_config():
    config = alexnet_imagenet.get_config().unlock()
    config.model.variant = "source2012"
    # Batches are fixed slices, the same in every epoch. Departure: slices of one random order, not
    # of the order in files of 1,024; 15 photos are left out so that 128 divides the rest.
    config.data.update(train="train[:1281152]", reshuffle=False)
    config.data.photo.update(
        mean="centre", share=32, colour_form="source", colour_until="67 epochs"
    )
    config.optimizer = {
        "name": "sgd2012",
        "learning_rate": 0.01,
        "scale_rule": "none",  # "linear", "sqrt": the rate is for a batch of 128 and scales with it
        "bias_rate_factor": 2.0,
        "bias_schedule": {"name": "constant"},  # epsB stayed 0.02 while epsW fell
        "bias_decay": False,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "schedule": {
            "name": "piecewise",
            "boundaries": ("25 epochs", "51 epochs", "79 epochs"),
            "values": (1.0, 0.1, 0.01, 0.001),
        },
        "layers": {"conv1": {"boundaries": ("67 epochs", "72 epochs"), "values": (1.0, 0.1, 0.0)}},
    }
    config.train.duration = "91 epochs"
    return config.lock()
