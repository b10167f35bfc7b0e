"""Photos in class folders, or in a tar of class folders, such as Imagenette."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from lenet_alexnet.data.class_names import check_known, check_names
from lenet_alexnet.data.foreign_files import is_hidden, open_regular
from lenet_alexnet.data.image_files import SUFFIXES, require_readers
from lenet_alexnet.data.prepare import tar
from lenet_alexnet.data.prepare.photo_sources import Photo, Source
from lenet_alexnet.errors import DataError

HIDDEN = "hidden, or a tool's own"
SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
IMAGENETTE = (
    "tench",
    "English springer",
    "cassette player",
    "chain saw",
    "church",
    "French horn",
    "garbage truck",
    "gas pump",
    "golf ball",
    "parachute",
)


def imagenette(source: str | Path) -> Source:
    """Imagenette's folder (or its parent), or an uncompressed tar of it."""
    import tensorflow_datasets as tfds

    path = tfds.core.tfds_path("image_classification/imagenette_labels.txt")
    wnids = tuple(path.read_text().split())
    found = read(source)
    if found.class_names != wnids:
        odd = sorted(set(found.class_names) ^ set(wnids))
        raise DataError(
            f"'{source}' is not Imagenette, whose classes are {', '.join(wnids)}: see {odd[0]}"
        )
    return found._replace(class_names=IMAGENETTE)


def read(source: str | Path) -> Source:
    """Class folders: DIR/<class>/*.jpg, or DIR/train, DIR/val or validation, DIR/test of these.

    A tar of these is read too. The classes are those of the training split, sorted by name.

    Raises:
      UsageError: a library for a file is missing.
      DataError: no such folder, no class folders, fewer than two classes, a class without images,
        a class that training does not have, or a bad class name (`check_names`).
    """
    root = Path(source)
    if not root.exists():
        raise DataError(f"no folder or tar '{root}'")
    listing = dict(_tar_listing(root) if root.is_file() else _listing(root, PurePosixPath(), 4))
    base, known = _layout(listing, root)
    classes: dict[str, dict[str, list[Photo]]] = {}
    ignored = {}
    for path, place in sorted(listing.items()):
        parts = path.relative_to(base).parts if path.is_relative_to(base) else ()
        if not known:
            parts = ("train", *parts)
        inside = len(parts) > 1 and parts[0] in SPLITS
        if isinstance(place, str):
            ignored[str(path)] = place
        elif place is None:
            if inside and len(parts) == 2:
                classes.setdefault(SPLITS[parts[0]], {}).setdefault(parts[1], [])
        elif not inside or len(parts) != 3:
            ignored[str(path)] = "not in a class folder"
        elif path.suffix.lower() not in SUFFIXES:
            ignored[str(path)] = "not an image by its name"
        elif not place[2]:
            ignored[str(path)] = "empty"
        else:
            split = classes.setdefault(SPLITS[parts[0]], {})
            split.setdefault(parts[1], []).append(Photo(str(path), 0, *place))
    names = _class_names(classes, root)
    splits: dict[str, list[Photo]] = {
        split: [p._replace(label=i) for i, c in enumerate(names) for p in classes[split].get(c, [])]
        for split in ("train", "validation", "test")
        if split in classes
    }
    require_readers(Path(photo.name) for photos in splits.values() for photo in photos)
    return Source(names, splits, ignored)


def _listing(root: Path, below: PurePosixPath, depth: int) -> Iterator[tuple[PurePosixPath, Any]]:
    """Yields folders (None), files (path, offset, size), and why others are left out (a string).

    The depth is limited, as links may form a cycle.
    """
    try:
        entries = list(os.scandir(root / below))
    except OSError as error:
        raise DataError(f"cannot read {root / below}: {error.strerror}") from error
    for entry in entries:
        path = below / entry.name
        if is_hidden(entry.name):
            yield path, HIDDEN
        elif entry.is_dir():
            yield path, None if depth > 1 else "a folder too deep"
            if depth > 1:
                yield from _listing(root, path, depth - 1)
        elif entry.is_file():
            yield path, (entry.path, 0, entry.stat().st_size)
        else:
            yield path, "not a file but a FIFO, socket, device or broken link"


def _tar_listing(path: Path) -> Iterator[tuple[PurePosixPath, Any]]:
    """The same for a tar."""
    with open_regular(path) as file:
        members = tar.members(file, path, needs_end=True)
    for member in members:
        name = PurePosixPath(member.name)
        hidden = [i for i, part in enumerate(name.parts) if is_hidden(part)]
        if hidden:
            name = PurePosixPath(*name.parts[: hidden[0] + 1])
        for parent in list(name.parents)[:-1]:  # Not every tar lists its folders.
            yield parent, None
        if hidden:
            yield name, HIDDEN
        elif member.kind == tar.FOLDER:
            yield name, None
        elif member.kind == tar.FILE:
            yield name, (str(path), member.offset, member.size)
        else:
            yield name, f"{member.kind} in the tar"


def _layout(listing: dict[PurePosixPath, Any], root: Path) -> tuple[PurePosixPath, bool]:
    """The folder of the splits or of the classes, and whether it has splits."""
    top = {path.name for path in listing if len(path.parts) == 1 and listing[path] is None}
    for base in [PurePosixPath(), *map(PurePosixPath, top if len(top) == 1 else ())]:
        if base / "train" in listing:
            both = {base / "val", base / "validation"} & listing.keys()
            if len(both) > 1:
                raise DataError(f"'{root}' has both val and validation: keep one")
            return base, True
    if known := sorted(top & SPLITS.keys()):
        raise DataError(f"'{root}' has a folder '{known[0]}' but no 'train'")
    return PurePosixPath(), False


def _class_names(classes: dict[str, dict[str, list[Photo]]], root: Path) -> tuple[str, ...]:
    names = tuple(sorted(classes.get("train", ())))
    if not names:
        raise DataError(
            f"no class folders in '{root}': expected <class>/*.jpg or train/<class>/*.jpg"
        )
    check_names(names, f"'{root}'")
    for split, members in classes.items():
        check_known(sorted(members), names, f"'{root}': {split}", "train")
        for name, photos in sorted(members.items()):
            if not photos:
                raise DataError(f"'{root}': no images in the folder of class '{name}' ({split})")
    if len(names) < 2:
        raise DataError(f"'{root}' has one class only, '{names[0]}': at least two are needed")
    return names
