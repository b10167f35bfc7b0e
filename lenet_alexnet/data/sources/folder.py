"""Images in class folders: DIR/train/<class>/*.png and DIR/test/..., or DIR/<class>/*.png."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from lenet_alexnet.data import image_files, stratified
from lenet_alexnet.data.class_names import check_known, check_names
from lenet_alexnet.data.dataset import InMemory
from lenet_alexnet.data.foreign_files import is_hidden
from lenet_alexnet.errors import DataError, UsageError, nearest
from lenet_alexnet.runtime.backend import own_cores

# Parts of `train`, or of `all` if there is no `train`: whether they are held out.
PARTS = {"stratified_train": False, "stratified_validation": True}
MANY = 200  # Reading so many images shows a progress bar.
_digests: dict[tuple[str, int, int], bytes] = {}  # of files read so far: decoding takes longest


class Listing(NamedTuple):
    """The image files of a split, in the order of their classes and names."""

    class_names: tuple[str, ...]
    files: list[Path]
    labels: list[int]


class Read(NamedTuple):
    """An image as the network gets it, and a hash of all its pixels, if that was asked for."""

    pixels: np.ndarray
    digest: bytes


def read(folder: str | Path, split: str, image_size: int, channels: int) -> InMemory:
    """Reads a split: a subfolder of class folders; `all` is `folder` itself.

    Classes are numbered as in `train`, if there is one. The examples have a fixed random order, so
    that `all[:90%]` holds every class. Images are scaled so that the short side is `image_size`,
    and cropped to their centre. Hidden files and folders are ignored, as are those of tools
    (`__MACOSX`, `@eaDir`). `stratified_train` and `stratified_validation` are four fifths and one
    fifth of each class of `train`, or of `all` if there is no `train`, see `stratified.held_out`.

    Raises:
      UsageError: no such split, or a library for a file is missing. DataError: no images, some that
        cannot be read, a class that `train` does not have, a training class without images, or a
        bad class name (`check_names`).
    """
    root = Path(folder)
    listing = list_files(root, split)
    if split in PARTS:
        chosen, pixels = _part(listing, PARTS[split], image_size, channels)
        labels = [listing.labels[i] for i in chosen]
        names = [_name(listing.files[i], root) for i in chosen]
        if not chosen:
            raise DataError(f"'{root}' has too few images to hold some out: two a class are needed")
    else:
        labels, names = listing.labels, [_name(path, root) for path in listing.files]
        pixels = [one.pixels for one in _read_all(listing.files, image_size, channels)]
    order = np.random.default_rng(0).permutation(len(labels))
    return InMemory(
        np.stack([pixels[i] for i in order]),
        np.array([labels[i] for i in order], np.int32),
        listing.class_names,
        tuple(names[i] for i in order),
    )


def list_files(root: Path, split: str) -> Listing:
    """The files of a split, see `read`; for the parts of a split, all of its files."""
    if not root.is_dir():
        raise DataError(f"no folder '{root}'")
    whole = "train" if (root / "train").is_dir() else "all"
    split = whole if split in PARTS else split
    base = root if split == "all" else root / split
    if not base.is_dir():
        known = ["all", *PARTS, *folders(root)]
        raise UsageError(f"'{root}' has no split '{split}': {nearest(split, known)}")
    train = base if split == "all" or whole == "all" else root / "train"
    class_names, here = tuple(folders(train)), folders(base)
    check_names(class_names, f"'{train}'")
    check_known(here, class_names, f"'{base}'", f"'{train}'")
    members = {name: _image_files(base / name) for name in here}
    files = [path for name in here for path in members[name]]
    if not files:
        raise DataError(f"no images in class folders below '{base}'")
    if train == base and (empty := [name for name in here if not members[name]]):
        raise DataError(f"no images in the folder of class '{empty[0]}' below '{base}'")
    labels = [class_names.index(name) for name in here for _ in members[name]]
    return Listing(class_names, files, labels)


def folders(base: Path) -> list[str]:
    """The names of the folders in a folder, without hidden ones, sorted."""
    return sorted(
        path.name for path in base.iterdir() if path.is_dir() and not is_hidden(path.name)
    )


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in image_files.SUFFIXES and not is_hidden(path.name)
    )


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _part(
    listing: Listing, wanted: bool, size: int, channels: int
) -> tuple[list[int], list[np.ndarray]]:
    """The indices and the pixels of the files that are held out, or of the others."""
    keys = [_key(path) for path in listing.files]
    new = [i for i, key in enumerate(keys) if key not in _digests]
    images = _read_all([listing.files[i] for i in new], size, channels, hashed=True)
    found = dict(zip(new, images, strict=True))
    _digests.update({keys[i]: one.digest for i, one in found.items()})
    out = stratified.held_out(listing.labels, [_digests[key] for key in keys])
    chosen = [i for i, held in enumerate(out) if held == wanted]
    rest = [i for i in chosen if i not in found]
    images = _read_all([listing.files[i] for i in rest], size, channels)
    found.update(zip(rest, images, strict=True))
    return chosen, [found[i].pixels for i in chosen]


def _key(path: Path) -> tuple[str, int, int]:
    """Differs for a file that was changed."""
    status = path.stat()
    return str(path.absolute()), status.st_mtime_ns, status.st_size


def _read_all(
    files: Sequence[Path], size: int, channels: int, *, hashed: bool = False
) -> list[Read]:
    """All images, with one thread per processor; DataError names those that cannot be read."""
    image_files.require_readers(files)

    def one(path: Path) -> Read | DataError:
        try:
            return _read(path, size, channels, hashed)
        except DataError as error:
            return error

    bar = tqdm(total=len(files), unit=" photos", disable=True if len(files) < MANY else None)
    with bar, ThreadPoolExecutor(len(own_cores())) as pool:
        found = []
        for result in pool.map(one, files):
            found.append(result)
            bar.update()
    errors = [result for result in found if isinstance(result, DataError)]
    if errors:
        more = f", and {len(errors) - 1} more cannot be read" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{more}")
    return [result for result in found if isinstance(result, Read)]


def read_image(path: str | Path, size: int, channels: int) -> np.ndarray:
    """One image file as [size, size, channels] bytes: short side scaled to `size`, centre crop.

    Raises:
      DataError: no such file, or no image that can be read.
    """
    return _read(path, size, channels, False).pixels


def _read(path: str | Path, size: int, channels: int, hashed: bool) -> Read:
    image = image_files.read(path, channels)
    digest = _digest(image) if hashed else b""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    image = image.crop((left, top, left + size, top + size))
    return Read(np.asarray(image).reshape(size, size, channels), digest)


def _digest(image: Image.Image) -> bytes:
    content = repr(image.size).encode() + image.tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()
