"""Image files in the form of the images that a network was trained on."""

import numpy as np
from jaxtyping import UInt8

from lenet_alexnet.data import image_files
from lenet_alexnet.data.foreign_files import open_regular
from lenet_alexnet.data.sources import embedded, folder
from lenet_alexnet.errors import DataError
from lenet_alexnet.inference import glyph
from lenet_alexnet.inference.open_run import TrainedRun


def reads_digits(run: TrainedRun) -> bool:
    """Whether the run's images are digits in MNIST's form."""
    data = run.config.data
    one_form = data.channels == 1 and data.image_size == glyph.SIDE and "photo" not in data
    return one_form and run.class_names == embedded.DIGITS


def prepare(
    file: str, run: TrainedRun, dark: bool | None = None
) -> tuple[UInt8[np.ndarray, "h w c"], list[str]]:
    """The image in a file as the run's images are, and reasons to doubt that it is a digit.

    Args:
      file: PNG, JPEG ...; grey or colour, any size.
      run: the trained network.
      dark: whether the ink is dark, on light paper; None: by the ink and the paper.

    Raises:
      DataError: no such file, or no image that can be read.
    """
    data = run.config.data
    if reads_digits(run):
        found = glyph.prepare(np.asarray(image_files.read(file, 1)), dark)
        return found.pixels[..., None], found.doubts
    if "photo" in data and data.source != "folder":  # As the training photos were prepared.
        return _photo(file, data.image_size), []
    image = folder.read_image(file, data.image_size, data.channels)
    if dark is None and (data.channels, data.image_size) != (1, glyph.SIDE):
        return image, []  # Only data in MNIST's form is known to be light on black.
    return glyph.light_on_dark(image, dark), []


def _photo(file: str, size: int) -> np.ndarray:
    try:
        with open_regular(file) as content:
            return image_files.standardise(content.read(), size, file)[0]
    except (OSError, image_files.UnusableError) as error:
        raise DataError(f"cannot read '{file}' as an image: {error}") from error
