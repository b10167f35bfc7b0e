"""Finds the same image in two splits, or in two classes of one split."""

import hashlib
from collections.abc import Mapping

from lenet_alexnet.data.dataset import Dataset, InMemory


def report(train: Dataset, others: Mapping[str, Dataset]) -> list[str]:
    """A warning for each split that shares images with the training split, and for two labels.

    Only images that were read from files with names are compared, by their pixels at the size at
    which they are stored.

    Args:
      train: the training split.
      others: by name.
    """
    if not isinstance(train, InMemory) or not train.names:
        return []
    known: dict[bytes, list[int]] = {}
    for row, digest in enumerate(_digests(train)):
        known.setdefault(digest, []).append(row)
    lines = _of_two_classes(train, list(known.values()))
    for name, data in others.items():
        if not isinstance(data, InMemory) or not data.names:
            continue
        shared = [(i, known[d][0]) for i, d in enumerate(_digests(data)) if d in known]
        if shared:
            i, row = shared[0]
            lines.append(
                f"warning: {len(shared)} of {len(data)} photos of data.{name} "
                f"{_are(len(shared))} also in data.train, for example '{data.names[i]}' = "
                f"'{train.names[row]}': the error there is too low"
            )
    return lines


def _of_two_classes(data: InMemory, copies: list[list[int]]) -> list[str]:
    """A warning if images of the same pixels have different labels, else nothing."""
    differ = [
        (rows[0], next(i for i in rows if data.labels[i] != data.labels[rows[0]]))
        for rows in copies
        if len({int(data.labels[i]) for i in rows}) > 1
    ]
    if not differ:
        return []
    one, other = differ[0]
    photos = "1 photo" if len(differ) == 1 else f"{len(differ)} photos"
    return [
        f"warning: {photos} of data.train {_are(len(differ))} in more than one class, for example "
        f"'{data.names[one]}' = '{data.names[other]}': remove the wrong ones"
    ]


def _are(count: int) -> str:
    return "are" if count > 1 else "is"


def _digests(data: InMemory) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in data.images]
