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


def _alone(line: str) -> bool:
    """Whether each device is a group by itself, so that nothing is exchanged."""
    listed = re.search(r"replica_groups=\{(\{[0-9]+\},?)+\}", line)
    counted = re.search(r"replica_groups=\[[0-9]+,1\]<=", line)
    return bool(listed or counted)


def collectives(text: str) -> list[Collective]:
    """The exchanges in a program's optimised text (`compiled.as_text()`), each counted once.

    A training program repeats its loop's body, so these are the exchanges of one step.
    """
    found = []
    for line in text.splitlines():
        match = LINE.search(line)
        if match is None or _alone(line):
            continue
        shapes, total = [], 0
        results = SHAPE.findall(match["type"])
        if f"{match['kind']}-start(" in line and match["kind"] != "all-reduce":
            results = results[len(results) // 2 :]  # (operands, results)
        for kind, numbers in results:
            shape = tuple(int(n) for n in numbers.split(",") if n)
            shapes.append(shape)
            total += math.prod(shape) * SIZES[kind]
        found.append(Collective(match["kind"], tuple(shapes), total))
    return found
