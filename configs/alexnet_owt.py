"""The one-tower network of 2014, as torchvision has it, without normalisation.

    lenet-alexnet data prepare imagenet2012 --from=DIR
    lenet-alexnet train --config=configs/alexnet_owt.py --workdir=runs/alexnet_owt

Expected: 56.52 % top-1 and 79.07 % top-5 accuracy on the validation images, centre crop
(torchvision's AlexNet_Weights.IMAGENET1K_V1). Not measured here.

Departure: torchvision takes crops of random size and aspect ratio; here they are 224 of 256. The
initial weights are those of He et al. (2015).
"""

import alexnet_imagenet


def get_config():
    config = alexnet_imagenet.get_config().unlock()
    config.model.variant = "owt"
    config.data.photo.update(mean="channel", std=58.0, colour_noise=0.0)
    config.optimizer = {
        "name": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0001,
        "bias_decay": True,  # PyTorch's SGD decays every parameter
        "schedule": {
            "name": "steps",
            "boundaries": ("30 epochs", "60 epochs"),
            "factor": 0.1,
        },
    }
    config.train.batch_size = 256
    return config.lock()
