"""AlexNet as BVLC's Caffe trained it (models/bvlc_alexnet).

    lenet-alexnet data prepare imagenet2012 --from=DIR
    lenet-alexnet train --config=configs/alexnet_caffe.py --workdir=runs/alexnet_caffe

Expected: 57.1 % top-1 and 80.2 % top-5 accuracy on the validation images, centre crop, after
360,000 steps (its readme). Not measured here.

Departure: Caffe resized the images to 256x256; ours keep their aspect ratio (short side 256,
centre).
"""

import alexnet_imagenet


def get_config():
    config = alexnet_imagenet.get_config().unlock()
    config.model.update(variant="caffe", image_size=227)
    config.data.photo.update(crop=227, colour_noise=0.0)
    config.optimizer = {
        "name": "sgd2012",
        "learning_rate": 0.01,
        "bias_rate_factor": 2.0,  # lr_mult 2, decay_mult 0
        "bias_decay": False,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "schedule": {
            "name": "steps",
            "boundaries": ("100000 steps", "200000 steps", "300000 steps", "400000 steps"),
            "factor": 0.1,
        },
    }
    config.train.update(batch_size=256, duration="450000 steps")
    return config.lock()
