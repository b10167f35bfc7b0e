"""The sections of every config, with the defaults of their entries."""

from ml_collections import ConfigDict


def base() -> ConfigDict:
    """Every section except `model` and `optimizer`, which each config file sets as a whole."""
    return ConfigDict(
        {
            "seed": 0,  # of weights, order, distortions and dropout
            "data": {
                "source": "tfds",  # embedded | idx | folder | tfds
                "name": "mnist",  # the prepared data set, for tfds
                "data_dir": "",  # the folder of the files; "" is tfds's own default
                "train": "train",  # a split, e.g. "train[:50000]" or "a+b"
                "validation": "",  # decides all choices; "" is none
                "test": "test",  # evaluated and reported, decides nothing; "" is none
                "image_size": 28,  # side of the stored images, in pixels
                "channels": 1,  # 1 is grey, 3 is RGB
                "pad": 2,  # pixels of background on each side
                "mean": 0.1307,  # of MNIST's training images on the scale 0..1
                "std": 0.3081,  # the images, without the mean, are divided by it
                "reshuffle": True,  # False: one fixed random order in every epoch
                "variants": 1,  # 10: a fixed set: each image and 9 distortions of it
                "interpolation": "linear",  # of distorted images: linear | cubic
                "distort": {  # each is drawn uniformly within its range; 0 is none
                    "shift": 0.0,  # pixels along each axis
                    "scale": 0.0,  # relative change of size
                    "squeeze": 0.0,  # one axis times 1 + q, the other divided by it
                    "shear": 0.0,  # columns per row
                    "rotation": 0.0,  # degrees
                },
            },
            "train": {
                "duration": "10 epochs",  # length of the run
                "batch_size": 128,  # of all devices together
                "steps_per_dispatch": 50,  # steps in one program call; signals wait for its end
                "log_every": "100 steps",  # interval of the training lines in the log
                "accumulate": 1,  # parts that a batch is cut into, to save memory
                "average": 0.0,  # decay of the parameters' moving average, which is evaluated
                "back_off": 0.0,  # 0.5: if it diverges, go back and halve the rate; 0: stop
                "precision": "float32",  # of the activations: float32 | bfloat16
                "loss": {
                    "name": "softmax",  # softmax | eq8 | eq9
                    "label_smoothing": 0.0,  # share of the target spread over all classes
                },
            },
            "parallel": {
                "mode": "dp",  # how the devices share the work: dp | tower | owt
                "turns": False,  # owt: the batch is gathered before fc6 in parts, not at once
                "update_each_turn": False,  # owt: fc6 to fc8 are updated after each part
                "shard_optimizer": False,  # shard the optimizer's moments over the devices, too
            },
            "eval": {
                "every": "1 epoch",  # interval of the evaluations during training
                "batch_size": 500,  # of evaluations
                "views": 1,  # of each photo: 1, the centre, or 10, the mean of ten crops
            },
            "checkpoint": {
                "every": "1 epoch",  # interval of the checkpoints
                "minutes": 0.0,  # also after this many; 0: never
                "keep": 2,  # the last ones; with a validation split, the best stays, too
            },
            "launch": {  # of a sweep's jobs; all except `lanes` for --executor=slurm
                "lanes": 64,  # trials in one vectorised program, at most
                "partition": "",  # "" is the cluster's default
                "time_limit": 60,  # minutes
                "gpus_per_trial": 0,  # of a job
                "cpus_per_trial": 1,  # of a job
                "requeue": 3,  # at most, after time limits; preemption is not counted
                "parallel": 256,  # jobs of an array that run at once, at most
            },
        }
    )


def optional() -> ConfigDict:
    """The entries that a config may leave out, with their defaults.

    Runs and hashes from before these entries stay as they are.
    """
    return ConfigDict(
        {
            "train": {
                "init_from": "",  # the run or file whose weights the run starts from; "": its own
                "freeze": (),  # names of the layers that keep their first weights
                "matmul_precision": "default",  # default | high | highest (no TF32 on GPUs)
            },
            "log": {
                "to": (),  # who gets the log, too: tensorboard | wandb | mlflow | csv
                "norms": False,  # True: norms of each layer's gradients and updates
                "histograms": False,  # True: histograms of its weights, gradients and updates
            },
        }
    )


def photos() -> ConfigDict:
    """`base` for prepared photos: cropped, reflected and coloured on the device."""
    config = base()
    with config.unlocked():
        for name in ("pad", "mean", "std", "interpolation", "distort"):
            del config.data[name]
        config.data.update(image_size=256, channels=3, validation="validation", test="")
        config.data.stream = False  # True: read from disk as needed, if too large for the device
        config.data.photo = {
            "crop": 224,  # side of the network's input
            "mean": "image",  # what is subtracted: image | centre | channel | given | none
            "std": 1.0,  # the images (0..255, without the mean) are divided by it
            "flip": True,  # reflections, with probability 1/2
            "share": 1,  # neighbours in the batch with the same place and reflection
            "colour_noise": 0.1,  # standard deviation of the three factors; 0: none
            "colour_form": "paper",  # source: divides by 1.1 while there is noise
            "colour_until": "0 steps",  # when the noise ends; 0: never
        }
    return config
