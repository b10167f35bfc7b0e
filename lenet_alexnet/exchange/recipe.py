"""What the use of weights of others needs: the network, its preprocessing, the class names."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lenet_alexnet.data.prepare import photo_sources
from lenet_alexnet.data.preprocess.statistics import Statistics
from lenet_alexnet.errors import DataError
from lenet_alexnet.inference.recipe import Recipe, not_trained
from lenet_alexnet.weights import names, recognise
from lenet_alexnet.weights.weight_file import WeightFile

# Of torchvision's weights, on the scale 0..1 (torchvision.transforms._presets).
TORCHVISION_MEAN, TORCHVISION_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of Caffe's training images, RGB (the mean of ilsvrc_2012_mean.npy, which is BGR).
CAFFE_MEAN = (122.67891434, 116.66876762, 104.00698793)
STORED = {224: 256, 227: 256}  # crop -> side of the image that it is cut from
IMAGENET_CLASSES = 1000


def of_others(
    file: WeightFile,
    *,
    variant: str,
    image_size: int,
    mean_image: np.ndarray | None,
    class_names: Sequence[str],
) -> Recipe:
    """The recipe of AlexNet's weights with the names of torchvision or Caffe.

    Args:
      file: the weights.
      variant, image_size: see `recognise.model_section`.
      mean_image: [h, w, 3], RGB, 0..255: Caffe's mean file; None: one mean per colour.
      class_names: of the outputs; (): ImageNet's for 1000 outputs, else numbers.
    """
    style, _ = names.named(file)
    config = not_trained(photos=True)
    config.model = recognise.model_section(file, variant=variant, image_size=image_size)
    crop, data, statistics = config.model.image_size, config.data, None
    data.update(name="imagenet2012", stream=True, train="train", validation="", test="validation")
    data.image_size = STORED.get(crop, round(crop * 8 / 7))
    data.channels = config.model.get("channels", 3)
    photo: dict[str, Any] = {"crop": crop, "colour_noise": 0.0}
    if style == "torchvision":
        mean, std = (tuple(255 * x for x in each) for each in (TORCHVISION_MEAN, TORCHVISION_STD))
        photo |= {"mean": "given", "colour_mean": mean, "colour_std": std}
    elif mean_image is None:
        photo |= {"mean": "given", "colour_mean": CAFFE_MEAN}
    else:
        photo |= {"mean": "image"}
        data.image_size, statistics = len(mean_image), _of_mean(mean_image)
    data.photo.update(photo)
    outputs = config.model.num_classes
    return Recipe(config.lock(), tuple(class_names) or default_names(outputs), statistics)


def default_names(outputs: int) -> tuple[str, ...]:
    """For 1000 outputs ImageNet's names, as its prepared data have them; else numbers.

    Numbers also where tensorflow-datasets, which lists ImageNet's, is not installed.
    """
    if outputs == IMAGENET_CLASSES:
        with contextlib.suppress(ModuleNotFoundError):
            return photo_sources.official().wnids
    return tuple(map(str, range(outputs)))


def _of_mean(mean_image: np.ndarray) -> Statistics:
    """A mean image alone; the number of images and the colours' covariance are unknown."""
    height, width, _ = mean_image.shape
    if height != width:
        raise DataError(f"the mean image is {height}x{width}, not a square")
    return Statistics(0, mean_image, mean_image.mean((0, 1), np.float64), np.zeros(3), np.eye(3))
