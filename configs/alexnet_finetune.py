"""AlexNet on your own photos from trained weights, for a few photos a class.

    lenet-alexnet data prepare folder --from=DIR --name=mine
    lenet-alexnet train --config=configs/alexnet_finetune.py --config.data.name=mine \\
        --config.model.num_classes=K --config.train.init_from=runs/imagenette --workdir=runs/tuned
    lenet-alexnet predict --workdir=runs/tuned photo.jpg

runs/imagenette is a run of alexnet_imagenette.py; any run with the same layers will do. The five
convolutions keep its weights. fc6, fc7 and a new fc8 are trained at a modest constant rate, with
crops and reflections as the only distortions. A fifth of the training photos is held out.

With --config.train.freeze="()" the convolutions are trained too, at a tenth of the rate. A longer
--config.train.duration on the same workdir continues the run: 30 epochs can be too few for photos
unlike those of the first training.

Measured with 20 photos a class of ten classes (experiments/021_warm_start): 29 % error in half a
minute on classes that the weights know, against 55 % from scratch in two hours. On others, enlarged
from 32 pixels, 72 % in half a minute and 62 % in five, which is what an hour from scratch gives.
"""

import alexnet_imagenette

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def get_config():
    config = alexnet_imagenette.get_config().unlock()
    config.data.update(name="mine", train="train[:80%]", validation="train[80%:]")
    config.data.photo.colour_noise = 0.0
    config.optimizer.update(learning_rate=0.002, layer_rate=dict.fromkeys(CONVOLUTIONS, 0.1))
    config.optimizer.schedule = {"name": "constant"}
    config.train.update(init_from="", freeze=CONVOLUTIONS)
    config.train.update(batch_size=32, duration="30 epochs", log_every="1 epoch")
    return config.lock()
