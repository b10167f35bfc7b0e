"""Images in class folders: DIR/train/<class>/*.png and DIR/test/..., or DIR/<class>/*.png."""

from pathlib import Path

import numpy as np
from PIL import Image

from lenet_alexnet.data import images
from lenet_alexnet.data.split import Split
from lenet_alexnet.errors import DataError, UsageError, nearest


def read(folder: str | Path, split: str, image_size: int, channels: int) -> Split:
    """Reads a split: a sub-folder of class folders; `all` takes `folder` itself.

    The examples come in a fixed random order, so that `all[:90%]` holds every class. Images are
    scaled so that the short side is `image_size`, and cropped to their centre.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"no folder '{root}'")
    base = root if split == "all" else root / split
    if not base.is_dir():
        known = ["all", *(path.name for path in root.iterdir() if path.is_dir())]
        raise UsageError(f"'{root}' has no split '{split}': {nearest(split, known)}")
    class_names = tuple(sorted(path.name for path in base.iterdir() if path.is_dir()))
    files = [
        (path, label)
        for label, name in enumerate(class_names)
        for path in sorted(base.joinpath(name).iterdir())
        if path.suffix.lower() in images.SUFFIXES
    ]
    if not files:
        raise DataError(f"no images in class folders below '{base}'")
    files = [files[i] for i in np.random.default_rng(0).permutation(len(files))]
    pixels = np.stack([read_image(path, image_size, channels) for path, _ in files])
    return Split(pixels, np.array([label for _, label in files], np.int32), class_names)


def read_image(path: str | Path, size: int, channels: int) -> np.ndarray:
    """One image file as [size, size, channels] bytes: short side scaled to `size`, centre crop."""
    image = images.read(path, channels)
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    image = image.crop((left, top, left + size, top + size))
    return np.asarray(image).reshape(size, size, channels)
