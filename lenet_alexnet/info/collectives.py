"""The exchanges of a compiled program between devices, read from its optimised text."""

import math
import re
from typing import NamedTuple

from lenet_alexnet.errors import DataError

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# Bytes of an entry.
SIZES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "s16": 2,
    "u16": 2,
    "f16": 2,
    "bf16": 2,
    "s32": 4,
    "u32": 4,
    "f32": 4,
    "s64": 8,
    "u64": 8,
    "f64": 8,
}
LINE = re.compile(rf"= (?P<type>.+?) (?P<kind>{'|'.join(KINDS)})(?:-start)?\(")
SHAPE = re.compile(r"(?P<type>\w+)\[(?P<shape>[0-9,]*)\]")
# Which devices exchange with each other, see `_group`.
PAIRS = re.compile(r"source_target_pairs=\{\{")
LISTED = re.compile(r"replica_groups=\{\{([0-9,]+(?:\},\{[0-9,]+)*)\}\}")
COUNTED = re.compile(r"replica_groups=\[[0-9]+,([0-9]+)\]<=\[")
NAME = r"['\"]?[\w.-]+['\"]?"
MESHED = re.compile(
    rf"replica_groups=mesh\[(?P<mesh>(?:{NAME}=[0-9]+,?)*)\](?:, ?device_ids=\([^ ]*\))? ?"
    rf"\{{(?P<axes>(?:{NAME}(?::\([0-9]+\)[0-9]+)?,?)*)\}}"
)
ALL = re.compile(r"replica_groups=\{\}")


class Collective(NamedTuple):
    """One exchange: its kind, and the arrays that result on each device."""

    kind: str
    shapes: tuple[tuple[int, ...], ...]
    bytes: int  # of the results, on one device
    group: int  # number of devices that exchange with each other; 0: all devices


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
    """The size of the groups of devices, in any form that XLA prints.

    - {{0,1},{2,3}}: the devices themselves; {}: all of them;
    - [2,2]<=[4] or [2,4]<=[4,2]T(1,0): groups, devices in each, and the order of the devices;
    - mesh['data'=4,'tower'=2] {'data'}: the mesh axes of a group. A part of an axis is 'data':(1)2,
      with its size last. The order of the devices may follow the ].

    Raises:
      DataError: another form.
    """
    if PAIRS.search(line):
        return 2  # Each device sends to one, and receives from one.
    if "replica_groups=" not in line:
        return 0
    if listed := LISTED.search(line):
        return max(len(group.split(",")) for group in listed[1].split("},{"))
    if counted := COUNTED.search(line):
        return int(counted[1])
    if (meshed := MESHED.search(line)) and (size := _along(meshed["mesh"], meshed["axes"])):
        return size
    if ALL.search(line):
        return 0
    written = line[line.index("replica_groups=") :][:120]
    raise DataError(f"cannot read which devices exchange with each other: {written}")


def _along(mesh: str, axes: str) -> int | None:
    """The number of devices along some axes of a mesh; None if it lacks one of them."""
    sizes = dict(pair.rsplit("=", 1) for pair in mesh.split(",") if pair)
    total = 1
    for axis in filter(None, axes.split(",")):
        name, _, part = axis.partition(":")
        size = part.rpartition(")")[2] if part else sizes.get(name)
        if not size:
            return None
        total *= int(size)
    return total


def collectives(text: str) -> list[Collective]:
    """The exchanges in a program's optimised text (`compiled.as_text()`), each counted once.

    In a training program they are the loop body's, so these are the exchanges of one step.

    Raises:
      DataError: the text has an unknown form of device groups, or an unknown type.
    """
    found = []
    for line in text.splitlines():
        match = LINE.search(line)
        if match is None:
            continue
        group = _group(line)
        if group == 1:  # Each device is alone: nothing is exchanged.
            continue
        shapes, total = [], 0
        results = SHAPE.findall(match["type"])
        if f"{match['kind']}-start(" in line and match["kind"] != "all-reduce":
            results = results[len(results) // 2 :]  # (operands, results)
        for kind, numbers in results:
            shape = tuple(int(n) for n in numbers.split(",") if n)
            shapes.append(shape)
            if kind not in SIZES:
                raise DataError(
                    f"the size of XLA's type '{kind}' is not known: {line.strip()[:200]}"
                )
            total += math.prod(shape) * SIZES[kind]
        found.append(Collective(match["kind"], tuple(shapes), total, group))
    return found
