"""AlexNet on your own photos in class folders.

    lenet-alexnet data prepare folder --from=DIR --name=mine
    lenet-alexnet train --config=configs/alexnet_folder.py --config.data.name=mine \\
        --config.model.num_classes=K --workdir=runs/mine
    lenet-alexnet eval --workdir=runs/mine --split=validation --views=10
    lenet-alexnet predict --workdir=runs/mine photo.jpg

The recipe of alexnet_imagenette.py. The last 10 % of the training photos, which preparation
shuffles, are held out; name another split with --config.data.validation=validation. The error
depends on the photos; a few hundred a class are few for 60 million parameters.
"""

import alexnet_imagenette


def get_config():
    config = alexnet_imagenette.get_config().unlock()
    config.data.name = "mine"
    return config.lock()
