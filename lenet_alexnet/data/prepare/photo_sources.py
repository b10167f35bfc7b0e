"""The sources of photos to prepare; ImageNet's official tars.

Nothing is unpacked: a photo is a part of a file, and the names in a tar are used only as labels.
"""

import importlib.util
import sys
from pathlib import Path
from typing import IO, NamedTuple

from lenet_alexnet.data.foreign_files import open_regular
from lenet_alexnet.data.prepare import tar
from lenet_alexnet.errors import DataError

TRAIN_TAR, VALIDATION_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
TRAIN_IMAGES = 1_281_167


class Photo(NamedTuple):
    """A photo: `size` bytes at `offset` of the file `path`, with a label and a name."""

    name: str
    label: int
    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The photo's bytes; DataError if they are no longer there."""
        try:
            with open_regular(self.path) as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise DataError(f"cannot read {self.path}: {error.strerror or error}") from error
        if len(content) != self.size:
            raise DataError(f"{self.path} ends before {self.name} does: truncated")
        return content


class Source(NamedTuple):
    """What to prepare: photos by split, the classes, and files that are not photos."""

    class_names: tuple[str, ...]
    splits: dict[str, list[Photo]]
    ignored: dict[str, str]  # name -> reason


class Official(NamedTuple):
    """The content of ILSVRC2012's files, as tfds lists it."""

    wnids: tuple[str, ...]
    validation_labels: tuple[str, ...]  # in the order of the file names
    train_images: int


def official() -> Official:
    """The 1000 classes in order, the 50,000 validation labels, the number of training images."""
    # Not imported: that takes seconds, and only two of its files are read.
    found = importlib.util.find_spec("tensorflow_datasets")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("tensorflow_datasets", name="tensorflow_datasets")
    folder = Path(found.submodule_search_locations[0]) / "datasets" / "imagenet2012"
    files = ("labels.txt", "validation_labels.txt")
    wnids, labels = (tuple((folder / file).read_text().split()) for file in files)
    return Official(wnids, labels, TRAIN_IMAGES)


def imagenet2012(folder: str | Path) -> Source:
    """The two official tars in `folder`. Class names are the wnids, as in tfds.

    Raises:
      DataError: a tar is missing, damaged, or not the official one.
    """
    paths = [Path(folder, name) for name in (TRAIN_TAR, VALIDATION_TAR)]
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"no {path.name} in '{folder}', which must hold {TRAIN_TAR} and {VALIDATION_TAR} "
                "as they come from image-net.org"
            )
    expected = official()
    print(f"reading the lists of {paths[0]} and {paths[1].name}", file=sys.stderr)
    splits = {"train": _train(paths[0], expected), "validation": _validation(paths[1], expected)}
    return Source(expected.wnids, splits, {})


def _train(path: Path, expected: Official) -> list[Photo]:
    """Reads the training tar, which has one tar per class; none is unpacked."""
    labels = {f"{wnid}.tar": label for label, wnid in enumerate(expected.wnids)}
    photos, found = [], set()
    with open_regular(path) as file:
        for member in _files(file, path):
            if member.name not in labels:
                raise DataError(
                    f"{path} holds {member.name!r}: the official file holds {len(labels)} tars "
                    f"named {expected.wnids[0]}.tar to {expected.wnids[-1]}.tar and nothing else"
                )
            found.add(member.name)
            label, start = labels[member.name], member.offset
            for m in _files(file, f"{member.name} in {path}", start, member.size):
                photos.append(Photo(m.name, label, str(path), m.offset, m.size))
    if missing := sorted(labels.keys() - found):
        raise DataError(
            f"{path} holds {len(found)} of {len(labels)} class tars; {missing[0]} is missing"
        )
    _count(path, len(photos), expected.train_images)
    return photos


def _validation(path: Path, expected: Official) -> list[Photo]:
    labels = {wnid: label for label, wnid in enumerate(expected.wnids)}
    with open_regular(path) as file:
        members = sorted(_files(file, path), key=lambda member: member.name)
    for i, member in enumerate(members, 1):
        if member.name != (name := f"ILSVRC2012_val_{i:08}.JPEG"):
            raise DataError(f"{path} holds {member.name!r} where the official file has {name!r}")
    _count(path, len(members), len(expected.validation_labels))
    return [
        Photo(m.name, labels[wnid], str(path), m.offset, m.size)
        for m, wnid in zip(members, expected.validation_labels, strict=True)
    ]


def _files(
    file: IO[bytes], path: str | Path, start: int = 0, size: int | None = None
) -> list[tar.Member]:
    """The members of one of ImageNet's tars, which hold only files."""
    members = tar.members(file, path, start, size, needs_end=False)
    for member in members:
        if member.kind != tar.FILE:
            raise DataError(
                f"{path} holds {member.name!r}, {member.kind}: official tars hold only files"
            )
    return members


def _count(path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise DataError(f"{path} holds {found:,} images, the official file {expected:,}")
