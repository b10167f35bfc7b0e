"""Images in class folders: DIR/train/<class>/*.png and DIR/test/..., or DIR/<class>/*.png."""

from pathlib import Path

import numpy as np
from PIL import Image

from lenet_alexnet.data import image_files
from lenet_alexnet.data.class_names import check_known, check_names
from lenet_alexnet.data.dataset import InMemory
from lenet_alexnet.data.foreign_files import is_hidden
from lenet_alexnet.errors import DataError, UsageError, nearest


def read(folder: str | Path, split: str, image_size: int, channels: int) -> InMemory:
    """Reads a split: a subfolder of class folders; `all` is `folder` itself.

    Classes are numbered as in `train`, if there is one. The examples have a fixed random order, so
    that `all[:90%]` holds every class. Images are scaled so that the short side is `image_size`,
    and cropped to their centre. Hidden files and folders are ignored, as are those of tools
    (`__MACOSX`, `@eaDir`).

    Raises:
      UsageError: no such split. DataError: no images, one that cannot be read, a class that `train`
        does not have, a training class without images, or a bad class name (`check_names`).
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"no folder '{root}'")
    base = root if split == "all" else root / split
    if not base.is_dir():
        known = ["all", *_folders(root)]
        raise UsageError(f"'{root}' has no split '{split}': {nearest(split, known)}")
    train = base if split == "all" or not root.joinpath("train").is_dir() else root / "train"
    class_names, here = tuple(_folders(train)), _folders(base)
    check_names(class_names, f"'{train}'")
    check_known(here, class_names, f"'{base}'", f"'{train}'")
    members = {name: _image_files(base / name) for name in here}
    files = [(path, class_names.index(name)) for name in here for path in members[name]]
    if not files:
        raise DataError(f"no images in class folders below '{base}'")
    if train == base and (empty := [name for name in here if not members[name]]):
        raise DataError(f"no images in the folder of class '{empty[0]}' below '{base}'")
    files = [files[i] for i in np.random.default_rng(0).permutation(len(files))]
    pixels = np.stack([read_image(path, image_size, channels) for path, _ in files])
    return InMemory(pixels, np.array([label for _, label in files], np.int32), class_names)


def _folders(base: Path) -> list[str]:
    return sorted(
        path.name for path in base.iterdir() if path.is_dir() and not is_hidden(path.name)
    )


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in image_files.SUFFIXES and not is_hidden(path.name)
    )


def read_image(path: str | Path, size: int, channels: int) -> np.ndarray:
    """One image file as [size, size, channels] bytes: short side scaled to `size`, centre crop."""
    image = image_files.read(path, channels)
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    image = image.crop((left, top, left + size, top + size))
    return np.asarray(image).reshape(size, size, channels)
