"""Fills the open entries of a config for photos in class folders; says what it chose and why.

An entry is open while it has its value in `OPEN`; any other value is kept.
"""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from lenet_alexnet.config.entries import flatten
from lenet_alexnet.data import image_files, stratified
from lenet_alexnet.data.foreign_files import is_hidden
from lenet_alexnet.data.sources import folder
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.runtime.storage import expand

OPEN: dict[str, Any] = {
    "data.train": "",
    "data.image_size": 0,
    "data.photo.crop": 0,
    "model.num_classes": 0,
    "model.image_size": 0,
    "model.widths": [],
    "model.dense_width": 0,
    "train.batch_size": 0,
    "train.duration": "",
    "train.log_every": "",
    "eval.every": "",
    "checkpoint.every": "",
}
IMBALANCED = 1.5  # The largest class has so many times the photos of the smallest.
LISTED = 12  # classes in a line
LARGE = 5_000  # photos: reading them at each start takes minutes
EVALUATIONS = 25  # of a run


class Size(NamedTuple):
    """The network and the length of training for a number of photos.

    Attributes:
      below: for fewer training photos than this.
      image_size, crop: in pixels.
      widths, dense_width: of AlexNet.
      maps: their number, in words.
      batch_size, steps: of training.
    """

    below: float
    image_size: int
    crop: int
    widths: tuple[int, ...]
    dense_width: int
    maps: str
    batch_size: int
    steps: int


SIZES = (
    Size(2_000, 72, 64, (24, 64, 96, 96, 64), 256, "a quarter of its maps", 16, 1_000),
    Size(20_000, 128, 112, (48, 128, 192, 192, 128), 1024, "half of its maps", 64, 8_000),
    Size(float("inf"), 256, 224, (96, 256, 384, 384, 256), 4096, "all its maps", 128, 60_000),
)


class Photos(NamedTuple):
    """What is in a folder.

    Attributes:
      root: the folder.
      listing: the files for training and, unless the folder has a split for it, validation.
      splits: `data.train`, `data.validation` and `data.test`.
    """

    root: Path
    listing: folder.Listing
    splits: tuple[str, str, str]

    @property
    def counts(self) -> list[int]:
        """The number of photos of each class."""
        found = Counter(self.listing.labels)
        return [found[label] for label in range(len(self.listing.class_names))]

    @property
    def train_size(self) -> int:
        """How many photos are trained on; a few more if there are copies."""
        if self.splits[0] not in folder.PARTS:
            return len(self.listing.files)
        return sum(count - stratified.share_of(count) for count in self.counts)


def resolve(config: Any) -> list[str]:
    """Fills the open entries of a config in place; returns lines that say what and why.

    Only those of AlexNet on photos in class folders are filled.

    Raises:
      UsageError: entries are open, but no folder is named, or a library for a file is missing.
      DataError: no such folder, fewer than two classes, a class without photos, or files that are
        no images.
    """
    flat = flatten(config)
    entries = [key for key, value in OPEN.items() if flat.get(key) == value]
    of_folder = config.data.source == "folder" and "photo" in config.data
    if not entries or not of_folder or config.model.name != "alexnet":
        return []
    if not config.data.data_dir:
        raise UsageError("no photos: --photos=DIR or --config.data.data_dir=DIR names their folder")
    photos = look(expand(config.data.data_dir))
    sides = sorted(image_files.short_side(path) for path in photos.listing.files)
    size = next(size for size in SIZES if photos.train_size < size.below)
    with config.unlocked():
        if "data.train" in entries:
            config.data.train, config.data.validation, config.data.test = photos.splits
        for key in entries[1:] if "data.train" in entries else entries:
            # In this order, as some follow from entries before them.
            config.update_from_flattened_dict({key: _value(key, config, photos, size)})
    return [
        *_of_classes(photos),
        *_of_splits(config, photos),
        *_of_network(config, photos, size, sides),
        *_of_training(config, photos),
    ]


def look(root: Path) -> Photos:
    """The photos in a folder: `train` and, if there are, `val` or `validation` and `test`; or only
    class folders.

    Raises:
      DataError: see `resolve`.
    """
    if not root.is_dir():
        raise DataError(f"no folder '{root}'")
    there = folder.folders(root)
    validation = [name for name in ("val", "validation") if name in there]
    if len(validation) == 2:
        raise DataError(f"'{root}' has both val and validation: keep one")
    if "train" not in there and (known := [*validation, *({"test"} & set(there))]):
        raise DataError(f"'{root}' has a folder '{known[0]}' but no 'train'")
    if not there:
        raise DataError(
            f"no class folders in '{root}': expected <class>/*.jpg or train/<class>/*.jpg"
        )
    listing = folder.list_files(root, "stratified_train")
    image_files.require_readers(listing.files)
    if len(names := listing.class_names) < 2:
        raise DataError(f"'{root}' has one class only, '{names[0]}': at least two are needed")
    test = "test" if "test" in there else ""
    if validation:
        return Photos(root, listing, ("train", validation[0], test))
    return Photos(root, listing, ("stratified_train", "stratified_validation", test))


def _value(key: str, config: Any, photos: Photos, size: Size) -> Any:
    """The value of an open entry; those before it in `OPEN` have theirs."""
    if key == "data.image_size":
        crop = config.data.photo.crop
        return -(-crop * size.image_size // size.crop) if crop else size.image_size
    if key == "data.photo.crop":
        return config.data.image_size * size.crop // size.image_size
    if key == "model.num_classes":
        return len(photos.listing.class_names)
    if key == "model.image_size":
        return config.data.photo.crop
    if key in ("model.widths", "model.dense_width"):
        return getattr(size, key.removeprefix("model."))
    if key == "train.batch_size":
        return min(size.batch_size, photos.train_size)
    if key == "train.duration":
        return f"{max(1, round(size.steps * size.batch_size / photos.train_size))} epochs"
    number, _, unit = config.train.duration.partition(" ")
    return f"{max(1, round(float(number) / EVALUATIONS))} {unit}"


def _of_classes(photos: Photos) -> list[str]:
    names, counts = photos.listing.class_names, photos.counts
    shown = [f"{name} {count:,}" for name, count in zip(names, counts, strict=True)][:LISTED]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    lines = [f"classes: {len(names)}, the folders' names: {', '.join(shown)}{more}"]
    least, most = min(counts), max(counts)
    if most >= IMBALANCED * least:
        few, many = names[counts.index(least)], names[counts.index(most)]
        lines.append(
            f"imbalance: '{many}' has {most / least:.1f} times as many photos as '{few}'; see the "
            "balanced accuracy and the errors of each class"
        )
    if ignored := _ignored(photos):
        lines.append(f"left out: {ignored}")
    return lines


def _ignored(photos: Photos) -> str:
    """What of the folder is not read."""
    base = photos.root / "train" if (photos.root / "train").is_dir() else photos.root
    inside = [path for name in photos.listing.class_names for path in (base / name).iterdir()]
    paths = [path for path in [*inside, *base.iterdir()] if not is_hidden(path.name)]
    used = set(photos.listing.files)
    other = Counter(
        path.suffix.lower() or "no suffix" for path in paths if path.is_file() and path not in used
    )
    deeper = sum(path.is_dir() for path in inside if not is_hidden(path.name))
    parts = [f"{sum(other.values()):,} files ({', '.join(sorted(other))})"] if other else []
    parts += [f"{deeper:,} folders inside class folders"] if deeper else []
    return " and ".join(parts)


def _of_splits(config: Any, photos: Photos) -> list[str]:
    train, validation, test = config.data.train, config.data.validation, config.data.test
    if (train, validation) != ("stratified_train", "stratified_validation"):
        line = f"splits: data.train={train}, data.validation={validation or 'none'}"
    else:
        out = len(photos.listing.files) - photos.train_size
        line = (
            f"splits: {photos.train_size:,} photos are trained on, {out:,} are held out for "
            "validation: a fifth of each class, chosen by their content; copies stay together"
        )
    return [f"{line}; test: {'the folder test' if test == 'test' else test or 'none'}"]


def _of_network(config: Any, photos: Photos, size: Size, sides: list[int]) -> list[str]:
    data, small = config.data, sum(side < config.data.image_size for side in sides)
    lines = [
        f"images: {data.image_size} pixels, crops of {data.photo.crop}; the short sides of the "
        f"photos are {sides[0]:,} to {sides[-1]:,}"
        + (f", {small:,} are enlarged" if small else ""),
        f"network: {config.model.variant} AlexNet with {size.maps}, as there are "
        + (f"fewer than {size.below:,} training photos" if size is not SIZES[-1] else "so many"),
    ]
    if len(photos.listing.files) >= LARGE:
        lines.append("reading: minutes at each start; `data prepare folder` does it once for all")
    return lines


def _of_training(config: Any, photos: Photos) -> list[str]:
    return [
        f"batch: {config.train.batch_size} of {photos.train_size:,} photos; length: "
        f"{config.train.duration}, evaluated every {config.eval.every}"
    ]
