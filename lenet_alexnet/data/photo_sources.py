"""Where photos are before they are prepared; ImageNet's own tars.

Nothing is unpacked: a photo is a place in a file, and the names in a tar serve as labels only.
"""

import io
import sys
import tarfile
from pathlib import Path
from typing import IO, NamedTuple

from lenet_alexnet.errors import DataError

TRAIN_TAR, VALIDATION_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
TRAIN_IMAGES = 1_281_167
BLOCK = 512


class Photo(NamedTuple):
    """`size` bytes at `offset` of the file `path`, its label, and the name it goes by."""

    name: str
    label: int
    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The photo's bytes; DataError if they are no longer there."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise DataError(f"cannot read {self.path}: {error.strerror}") from error
        if len(content) != self.size:
            raise DataError(f"{self.path} ends before {self.name} does: truncated")
        return content


class Source(NamedTuple):
    """Everything to prepare: photos by split, the classes, and files that are no photos."""

    class_names: tuple[str, ...]
    splits: dict[str, list[Photo]]
    ignored: dict[str, str]  # name -> reason


class Official(NamedTuple):
    """What ILSVRC2012's files hold, as tfds lists it."""

    wnids: tuple[str, ...]
    validation_labels: tuple[str, ...]  # in the order of the file names
    train_images: int


def official() -> Official:
    """The 1000 classes in order, the 50,000 validation labels, the number of training images."""
    import tensorflow_datasets as tfds

    folder = tfds.core.tfds_path("datasets/imagenet2012")
    files = ("labels.txt", "validation_labels.txt")
    wnids, labels = (tuple((folder / file).read_text().split()) for file in files)
    return Official(wnids, labels, TRAIN_IMAGES)


def imagenet2012(folder: str | Path) -> Source:
    """The two official tars in `folder`. Class names are the wnids: tfds has no others.

    Raises:
      DataError: a tar that is missing, damaged, or not the official one.
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
    """A tar of one tar a class, each of which is read where it lies."""
    labels = {f"{wnid}.tar": label for label, wnid in enumerate(expected.wnids)}
    photos, found = [], set()
    with path.open("rb") as file:
        for member in tar_members(file, path, 0, None):
            if member.name not in labels:
                raise DataError(
                    f"{path} holds '{member.name}': the official file holds {len(labels)} tars "
                    f"named {expected.wnids[0]}.tar to {expected.wnids[-1]}.tar and nothing else"
                )
            found.add(member.name)
            label, start = labels[member.name], member.offset_data
            for m in tar_members(file, f"{member.name} in {path}", start, member.size):
                photos.append(Photo(m.name, label, str(path), start + m.offset_data, m.size))
    if missing := sorted(labels.keys() - found):
        raise DataError(
            f"{path} holds {len(found)} of {len(labels)} class tars; {missing[0]} is missing"
        )
    _count(path, len(photos), expected.train_images)
    return photos


def _validation(path: Path, expected: Official) -> list[Photo]:
    labels = {wnid: label for label, wnid in enumerate(expected.wnids)}
    with path.open("rb") as file:
        members = sorted(tar_members(file, path, 0, None), key=lambda member: member.name)
    for i, member in enumerate(members, 1):
        if member.name != (name := f"ILSVRC2012_val_{i:08}.JPEG"):
            raise DataError(f"{path} holds '{member.name}' where the official file has '{name}'")
    _count(path, len(members), len(expected.validation_labels))
    return [
        Photo(m.name, labels[wnid], str(path), m.offset_data, m.size)
        for m, wnid in zip(members, expected.validation_labels, strict=True)
    ]


def _count(path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise DataError(f"{path} holds {found:,} images, the official file {expected:,}")


def tar_members(
    file: IO[bytes], path: str | Path, offset: int, size: int | None, *, folders: bool = False
) -> list[tarfile.TarInfo]:
    """The files (and folders) of a tar at `offset` of an open file, in their order.

    `tarfile` takes a damaged header for the end of the list, so the end mark is looked for; only
    where the number of files is known (ImageNet's own tars) may it be missing.
    """
    window = file if size is None else _Window(file, offset, size)
    try:
        with tarfile.open(fileobj=window, mode="r:") as tar:
            members = [m for m in tar if m.isreg() or (folders and m.isdir())]
            window.seek(tar.offset)
            end = window.read(BLOCK)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(f"{path} is no plain tar, or damaged: {error}{_hint(path)}") from error
    if any(end) or (folders and len(end) < BLOCK):
        raise DataError(f"{path} is damaged or truncated after {len(members):,} members")
    return members


def _hint(path: str | Path) -> str:
    packed = str(path).lower().endswith((".tgz", ".gz", ".xz", ".bz2", ".zip"))
    return " (unpack it first, and name the folder)" if packed else ""


class _Window(io.RawIOBase):
    """The `size` bytes at `start` of an open file as a file of their own."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self.file, self.start, self.size, self.position = file, start, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def read(self, count: int = -1) -> bytes:
        left = max(self.size - self.position, 0)
        self.file.seek(self.start + self.position)
        content = self.file.read(left if count < 0 else min(count, left))
        self.position += len(content)
        return content
