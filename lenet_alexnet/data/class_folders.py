"""Photos in class folders, or in a tar of class folders; Imagenette among them."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from lenet_alexnet.data.images import SUFFIXES
from lenet_alexnet.data.photo_sources import Photo, Source, tar_members
from lenet_alexnet.errors import DataError

SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
IMAGENETTE = (
    "tench", "English springer", "cassette player", "chain saw", "church",
    "French horn", "garbage truck", "gas pump", "golf ball", "parachute",
)  # fmt: skip


def imagenette(source: str | Path) -> Source:
    """Imagenette's folder (or one that holds it), or an uncompressed tar of it."""
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

    A tar of the same is read too. Classes are those of the training split, by name.

    Raises:
      DataError: nothing there, no class folders, fewer than two classes, a class without images,
        or one that training does not have.
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
        inside = len(parts) > 1 and parts[0] in SPLITS and not parts[1].startswith(".")
        if place is None:
            if inside and len(parts) == 2:
                classes.setdefault(SPLITS[parts[0]], {}).setdefault(parts[1], [])
        elif not inside or len(parts) != 3:
            ignored[str(path)] = "not in a class folder"
        elif path.suffix.lower() not in SUFFIXES:
            ignored[str(path)] = "not an image by its name"
        elif not place[2]:
            ignored[str(path)] = "empty, or not a file"
        else:
            split = classes.setdefault(SPLITS[parts[0]], {})
            split.setdefault(parts[1], []).append(Photo(str(path), 0, *place))
    names = _class_names(classes, root)
    splits: dict[str, list[Photo]] = {
        split: [p._replace(label=i) for i, c in enumerate(names) for p in classes[split].get(c, [])]
        for split in ("train", "validation", "test")
        if split in classes
    }
    return Source(names, splits, ignored)


def _listing(root: Path, below: PurePosixPath, depth: int) -> Iterator[tuple[PurePosixPath, Any]]:
    """Folders (None) and files (path, offset, size); the depth ends what links make endless."""
    try:
        entries = list(os.scandir(root / below))
    except OSError as error:
        raise DataError(f"cannot read {root / below}: {error.strerror}") from error
    for entry in entries:
        path = below / entry.name
        if entry.is_dir():
            yield path, None
            if depth > 1:
                yield from _listing(root, path, depth - 1)
        else:
            yield path, (entry.path, 0, entry.stat().st_size if entry.is_file() else 0)


def _tar_listing(path: Path) -> Iterator[tuple[PurePosixPath, Any]]:
    with path.open("rb") as file:
        for member in tar_members(file, path, 0, None, folders=True):
            name = PurePosixPath(member.name)
            if member.isdir():
                yield name, None
            else:
                for parent in list(name.parents)[:-1]:  # Not every tar lists its folders.
                    yield parent, None
                yield name, (str(path), member.offset_data, member.size)


def _layout(listing: dict[PurePosixPath, Any], root: Path) -> tuple[PurePosixPath, bool]:
    """The folder that holds the splits, or the classes alone, and which of the two it is."""
    top = {path.name for path in listing if len(path.parts) == 1 and listing[path] is None}
    for base in [PurePosixPath(), *map(PurePosixPath, top if len(top) == 1 else ())]:
        if base / "train" in listing:
            both = {base / "val", base / "validation"} & listing.keys()
            if len(both) > 1:
                raise DataError(f"'{root}' has both val and validation: which is it?")
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
    for split, members in classes.items():
        for name, photos in sorted(members.items()):
            if name not in names:
                raise DataError(f"'{root}': {split} has a class '{name}' that train has not")
            if not photos:
                raise DataError(f"'{root}': no images in the folder of class '{name}' ({split})")
    if len(names) < 2:
        raise DataError(f"'{root}' has one class only, '{names[0]}': two or more are needed")
    return names
