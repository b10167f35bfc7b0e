"""AlexNet on your own photos in class folders: DIR/<class>/*.jpg, or DIR/train/<class>/*.jpg ...

    lenet-alexnet train --photos=DIR
    lenet-alexnet train --config=configs/alexnet_folder.py --config.data.data_dir=DIR --workdir=w

Both are the same. The entries that are open here, 0 or empty, are filled from the photos when a
run begins, and each choice is printed. Any of them can be set: --config.train.duration="50 epochs".
Each class counts the same in the loss. A fifth of each class is held out, unless DIR has val/.

For many thousands of photos, which are then read only once:

    lenet-alexnet data prepare folder --from=DIR --name=mine
    lenet-alexnet train --config=configs/alexnet_imagenette.py --config.data.name=mine \\
        --config.model.num_classes=K --workdir=w
"""

import alexnet_imagenette


def get_config():
    config = alexnet_imagenette.get_config().unlock()
    # Open: train, with validation and test; image_size; crop.
    config.data.update(source="folder", name="", train="", validation="", test="", image_size=0)
    config.data.photo.crop = 0
    config.model.update(num_classes=0, image_size=0, widths=(), dense_width=0)
    config.train.update(batch_size=0, duration="", log_every="", steps_per_dispatch=16)
    config.train.loss.class_weights = "auto"
    config.eval.every = config.checkpoint.every = ""
    return config.lock()
