"""The sections that every config has, and what is in them unless a file says otherwise."""

from ml_collections import ConfigDict


def base() -> ConfigDict:
    """Every section but `model` and `optimizer`, which each config file sets as a whole."""
    return ConfigDict(
        {
            "seed": 0,
            "data": {
                "source": "tfds",  # embedded | idx | folder | tfds
                "name": "mnist",  # the prepared data set, for tfds
                "data_dir": "",  # the folder of the files; "" is tfds's own default
                "train": "train",  # split expressions: "train[:50000]", "a+b"
                "validation": "",  # what choices are made on; "" is none
                "test": "test",
                "image_size": 28,
                "channels": 1,
                "pad": 2,  # pixels of background on each side
                "mean": 0.1307,  # of MNIST's training images on the scale 0..1
                "std": 0.3081,
                "reshuffle": True,  # False: one fixed random order in every epoch
                "variants": 1,  # 10: a fixed set of each image and 9 distortions of it
                "interpolation": "linear",  # of distorted images: linear | cubic
                "distort": {  # ranges of data/augment.py:affine
                    "shift": 0.0,
                    "scale": 0.0,
                    "squeeze": 0.0,
                    "shear": 0.0,
                    "rotation": 0.0,
                },
            },
            "train": {
                "duration": "10 epochs",  # "N steps | epochs | examples", as all intervals
                "batch_size": 128,
                "steps_per_dispatch": 50,  # steps in one program call; signals wait for its end
                "log_every": "100 steps",
                "accumulate": 1,  # parts that a batch is cut into, to save memory
                "average": 0.0,  # decay of the parameters' moving average, which is evaluated
                "back_off": 0.0,  # 0.5: when it diverges, go back and halve the rate; 0: stop
                "precision": "float32",  # of the activations: float32 | bfloat16
                "loss": {"name": "softmax", "label_smoothing": 0.0},
            },
            "parallel": {
                "mode": "dp",  # how the devices share the work, see training/layout.py
                "turns": False,  # owt: the batch meets before fc6 in parts, not at once
                "update_each_turn": False,  # and fc6 to fc8 are updated after each part
                "shard_optimizer": False,  # cut the optimizer's moments over the devices too
            },
            "eval": {"every": "1 epoch", "batch_size": 500, "views": 1},
            # Besides the last `keep` the best one is kept; minutes: also so often, 0: never.
            "checkpoint": {"every": "1 epoch", "minutes": 0.0, "keep": 2},
            "launch": {  # of a sweep's jobs; all but `lanes` for --executor=slurm
                "lanes": 64,  # trials in one vectorised program, at most
                "partition": "",  # "" is the cluster's default
                "time_limit": 60,  # minutes
                "gpus_per_trial": 0,
                "cpus_per_trial": 1,
                "requeue": 3,  # so many times after a time limit; preemption is not counted
                "parallel": 256,  # jobs of an array that run at once, at most
            },
        }
    )


def photos() -> ConfigDict:
    """`base` for prepared photos: cropped, reflected and coloured on the device (data/crops.py)."""
    config = base()
    with config.unlocked():
        for name in ("pad", "mean", "std", "interpolation", "distort"):
            del config.data[name]
        config.data.update(image_size=256, channels=3, validation="validation", test="")
        config.data.stream = False  # True: read from disk as needed, for more than fits the device
        config.data.photo = {
            "crop": 224,
            "mean": "image",  # image | centre | channel | none: what is subtracted
            "std": 1.0,
            "flip": True,
            "share": 1,  # neighbours in the batch with the same place and reflection
            "colour_noise": 0.1,
            "colour_form": "paper",  # source: divides by 1.1 while there is noise
            "colour_until": "0 steps",  # when the noise ends; 0: never
        }
    return config
