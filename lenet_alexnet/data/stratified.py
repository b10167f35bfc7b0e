"""Holds out a part of each class; photos with the same pixels stay together."""

import math
from collections import defaultdict
from collections.abc import Sequence

SHARE = 0.2  # of each class


def held_out(labels: Sequence[int], digests: Sequence[bytes]) -> list[bool]:
    """Whether each example belongs to the validation split.

    About a fifth of each class does, and at least one example of a class with two or more. The
    digests alone decide, so an example keeps its place when others are added, except at the border.
    Examples of one digest are in the same split: in training if their classes differ, as such
    labels must not be measured.

    Args:
      labels: of the examples.
      digests: equal for examples with the same pixels.
    """
    copies: dict[bytes, list[int]] = defaultdict(list)
    for i, digest in enumerate(digests):
        copies[digest].append(i)
    groups: dict[int, list[list[int]]] = defaultdict(list)
    sizes: dict[int, int] = defaultdict(int)
    for digest in sorted(copies):
        members = copies[digest]
        for i in members:
            sizes[labels[i]] += 1
        if len({labels[i] for i in members}) == 1:
            groups[labels[members[0]]].append(members)
    chosen: set[int] = set()
    for label, size in sizes.items():
        free = share_of(size)
        for members in groups[label]:
            if len(members) <= free:
                chosen.update(members)
                free -= len(members)
    return [i in chosen for i in range(len(labels))]


def share_of(size: int) -> int:
    """How many examples of a class of this size are held out: a fifth, rounded to the nearest."""
    return min(size - 1, max(1, math.floor(size * SHARE + 0.5)))
