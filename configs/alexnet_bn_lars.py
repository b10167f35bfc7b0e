"""AlexNet with batch normalisation and LARS, for batches of 4,096 to 32,768 (You et al. 2017).

    lenet-alexnet data prepare imagenet2012 --from=DIR
    lenet-alexnet train --config=configs/alexnet_bn_lars.py --workdir=runs/alexnet_bn_lars

Expected at this batch of 4,096 and rate of 10: 60.4 % top-1 accuracy on the validation images,
centre crop, 100 epochs (Table 3; 8,192 at 14: 60.1, 16,384 at 23: 59.3, 32,768 at 22: 57.8). Not
measured here. To fit one device the batch is split into parts: train.accumulate.
"""

import alexnet_imagenet


def get_config():
    config = alexnet_imagenet.get_config().unlock()
    config.model.update(variant="bn", image_size=227)
    config.data.photo.update(crop=227, std=256.0, colour_noise=0.0)
    config.optimizer = {
        "name": "lars",
        "learning_rate": 10.0,
        "eta": 0.001,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "schedule": {"name": "polynomial", "power": 2.0, "warmup": "5 epochs"},
    }
    config.train.update(batch_size=4096, accumulate=8, duration="100 epochs", steps_per_dispatch=1)
    config.train.log_every = "50 steps"
    return config.lock()
