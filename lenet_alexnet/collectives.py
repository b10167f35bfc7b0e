"""What a compiled program exchanges between devices, read from its optimised text."""

import math
import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8}
LINE = re.compile(rf"= (?P<type>.+?) (?P<kind>{'|'.join(KINDS)})(?:-start)?\(")
SHAPE = re.compile(r"(?P<type>\w+)\[(?P<shape>[0-9,]*)\]")


class Collective(NamedTuple):
    """One exchange: its kind and the arrays that come out of it on each device."""

    kind: str
    shapes: tuple[tuple[int, ...], ...]
    bytes: int  # of the results, on one device
    group: int  # so many devices exchange with each other; 0: not said, so all


def sent(kind: str, size: int, group: int) -> int:
    """Bytes that each device of a group sends for a result of `size` bytes, in a ring."""
    if group < 2:
        return 0
    rounds = {
        "all-reduce": 2 * (group - 1) / group,
        "all-gather": (group - 1) / group,
        "reduce-scatter": group - 1,
        "all-to-all": (group - 1) / group,
        "collective-permute": 1,
    }
    return round(size * rounds[kind])


def _group(line: str) -> int:
    """The size of the groups of devices, as {{0,1},{2,3}} or [2,2]<=[4] say it."""
    if listed := re.search(r"replica_groups=\{\{([0-9,]+)\}", line):
        return listed[1].count(",") + 1
    if counted := re.search(r"replica_groups=\[[0-9]+,([0-9]+)\]<=", line):
        return int(counted[1])
    return 0


def collectives(text: str) -> list[Collective]:
    """The exchanges in a program's optimised text (`compiled.as_text()`), each counted once.

    A training program repeats its loop's body, so these are the exchanges of one step.
    """
    found = []
    for line in text.splitlines():
        match = LINE.search(line)
        group = _group(line)
        if match is None or group == 1:  # Each by itself: nothing is exchanged.
            continue
        shapes, total = [], 0
        results = SHAPE.findall(match["type"])
        if f"{match['kind']}-start(" in line and match["kind"] != "all-reduce":
            results = results[len(results) // 2 :]  # (operands, results)
        for kind, numbers in results:
            shape = tuple(int(n) for n in numbers.split(",") if n)
            shapes.append(shape)
            total += math.prod(shape) * SIZES[kind]
        found.append(Collective(match["kind"], tuple(shapes), total, group))
    return found
