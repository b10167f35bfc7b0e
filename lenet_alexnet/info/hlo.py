"""What a compiled program does, read from its optimised text (HLO): kernels, bytes, loops.

A kernel is an instruction that a device executes; the bytes it accesses are those of its operands
and results, of a slice only the slice's. What stays in a cache is not known, and counts.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from lenet_alexnet.errors import DataError
from lenet_alexnet.info.collectives import SHAPE, SIZES

COMPUTATION = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.-]+) \(.*\) -> .* \{")
INSTRUCTION = re.compile(r"^(?P<root>ROOT )?%?(?P<name>[\w.-]+) = (?P<rest>.*)$")
OPERATION = re.compile(r"(?P<type>.*?) (?P<operation>[a-z][\w-]*)\((?P<rest>.*)$")
NAMES = re.compile(r"%([\w.-]+)")
CALLED = re.compile(r"(?:calls|to_apply|body|called_computations)=\{?%?([\w.-]+)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
# Instructions that name or place values, or wait for what another has started.
NO_KERNEL = {"after-all", "bitcast", "constant", "get-tuple-element", "opt-barrier", "parameter"}
NO_KERNEL |= {"partition-id", "tuple"}
SLICES = {"dynamic-slice", "gather", "slice"}
BY_ENTRY = {"bitcast", "convert", "multiply"}
# What stops a device until the host has answered; S(5) is the host's memory.
HOST = re.compile(r"\b(?:infeed|outfeed|send|recv)\(|\{[\d,]*:[^}]*S\(5\)|callback")
UNSIZED = {"token", "opaque", "u4", "s4"}


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction: its name, result type, operation, operands, and its whole line."""

    name: str
    type: str
    operation: str
    operands: tuple[str, ...]
    line: str
    root: bool

    @cached_property
    def result_bytes(self) -> int:
        """Bytes of the results."""
        return nbytes(self.type)

    @cached_property
    def called(self) -> str | None:
        """The computation that it executes, if there is one."""
        found = CALLED.search(self.line)
        return found[1] if found else None

    def attribute_list(self, name: str) -> str:
        """The text of an attribute in braces such as slice, or ""."""
        found = re.search(rf" {name}=(\{{[^}}]*\}})", self.line)
        return found[1] if found else ""

    def attribute(self, name: str) -> str:
        """The text of a quoted attribute such as op_name, or ""."""
        found = re.search(rf'{name}="([^"]*)"', self.line)
        return found[1] if found else ""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What a device executes: the instruction, and the bytes it reads and writes."""

    instruction: Instruction
    bytes: int

    @property
    def kind(self) -> str:
        """The library's function that it calls, or the operation."""
        return self.instruction.attribute("custom_call_target") or self.instruction.operation


@dataclass(frozen=True)
class Program:
    """The computations of a program by name; the entry is "ENTRY", too."""

    computations: dict[str, dict[str, Instruction]] = field(default_factory=dict)

    @cached_property
    def loop(self) -> Instruction:
        """The loop over steps: of those in the entry, the one with the longest body.

        Raises:
          DataError: there is none.
        """
        loops = [i for i in self._reached("ENTRY") if i.operation == "while"]
        if not loops:
            raise DataError("the compiled program has no loop over steps: take 2 steps or more")
        return max(loops, key=lambda i: len(list(self._reached(i.called or ""))))

    def trip_count(self) -> int | None:
        """How often the loop over steps runs, if the compiler knows it."""
        found = TRIPS.search(self.loop.line)
        return int(found[1]) if found else None

    def host_transfers(self) -> list[str]:
        """The instructions in the loop over steps for which the device waits for the host."""
        body = self._reached(self.loop.called or "")
        return [i.name for i in body if HOST.search(i.line.partition(", metadata=")[0])]

    def kernels(self, computation: str | None = None) -> Iterator[Kernel]:
        """What one step executes, or a computation; an inner loop as often as it runs."""
        name = self.loop.called if computation is None else computation
        for i in self.computations[name or ""].values():
            if i.operation in NO_KERNEL or i.operation.endswith(("-done", "-update")):
                continue
            if i.operation in ("while", "call", "conditional"):
                found = TRIPS.search(i.line)
                for _ in range(int(found[1]) if found else 1):
                    yield from self.kernels(i.called)
            else:
                yield Kernel(instruction=i, bytes=self._accessed(i, name or ""))

    def _reached(self, name: str) -> Iterator[Instruction]:
        """The instructions of a computation and, except in fusions, of those that it executes."""
        for i in self.computations.get(name, {}).values():
            yield i
            if i.called and i.operation in ("while", "call", "conditional", "async-start"):
                yield from self._reached(i.called)

    def _accessed(self, i: Instruction, where: str) -> int:
        types = {name: other.result_bytes for name, other in self.computations[where].items()}
        reads = [types.get(operand, 0) for operand in i.operands]
        if i.operation in SLICES and reads:
            return 2 * i.result_bytes + sum(reads[1:])
        if i.operation == "dynamic-update-slice":
            return 2 * reads[1] + sum(reads[2:])
        if i.operation == "fusion" and i.called:
            return self._fused(i, reads)
        return sum(reads) + i.result_bytes

    def _fused(self, i: Instruction, reads: list[int]) -> int:
        """Of a fusion, whose parameters may be sliced and whose result may be updated in place."""
        inside = self.computations[i.called or ""]
        total, written = 0, i.result_bytes
        for parameter in (p for p in inside.values() if p.operation == "parameter"):
            number = int(parameter.line.split("parameter(")[1].split(")")[0])
            whole = reads[number] if number < len(reads) else 0
            total += _parts_read(inside, parameter, whole)
        root = next((other for other in inside.values() if other.root), None)
        if root is not None and root.operation == "dynamic-update-slice":
            written = inside[root.operands[1]].result_bytes
        return total + written


def _parts_read(inside: dict[str, Instruction], parameter: Instruction, whole: int) -> int:
    """The bytes that a fusion reads of a parameter of `whole` bytes; each part counts once."""
    parts: dict[str, int] = {}
    for user, name in _users(inside, parameter.name):
        part = _touched(user, name)
        if part is None:
            return whole
        # Equal slices are the same part.
        key = user.attribute_list("slice") if user.operation == "slice" else user.name
        parts[key] = part * (whole // max(entries(parameter.type), 1))
    return min(whole, sum(parts.values()))


def _users(inside: dict[str, Instruction], name: str) -> list[tuple[Instruction, str]]:
    """Who uses a value inside a fusion, and under which name.

    What is computed of a value entry by entry is computed only for the entries that are read of it.
    """
    found = []
    for i in inside.values():
        if name in i.operands:
            same = i.operation in BY_ENTRY and set(i.operands) == {name} and not i.root
            found += _users(inside, i.name) if same else [(i, name)]
    return found


def _touched(user: Instruction, name: str) -> int | None:
    """How many entries of an operand its user reads, if these are only a part."""
    if user.operands[0] != name:
        return None
    if user.operation in SLICES:
        return entries(user.type)
    return 0 if user.operation == "dynamic-update-slice" and user.root else None


def read(text: str) -> Program:
    """The program of an optimised text (`compiled.as_text()`)."""
    computations: dict[str, dict[str, Instruction]] = {}
    current: dict[str, Instruction] | None = None
    for line in text.splitlines():
        if begins := COMPUTATION.match(line):
            current = computations[begins["name"]] = {}
            if begins["entry"]:
                computations["ENTRY"] = current
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _instruction(line.strip())):
            current[found.name] = found
    return Program(computations)


def _instruction(line: str) -> Instruction | None:
    found = INSTRUCTION.match(line)
    operation = OPERATION.match(found["rest"]) if found else None
    if found is None or operation is None:
        return None
    return Instruction(
        name=found["name"],
        type=operation["type"],
        operation=operation["operation"],
        operands=tuple(NAMES.findall(_arguments(operation["rest"]))),
        line=line,
        root=bool(found["root"]),
    )


def _arguments(rest: str) -> str:
    """The text up to the parenthesis that closes an argument list."""
    depth = 1
    for place, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if not depth:
            return rest[:place]
    return rest


def entries(type_text: str) -> int:
    """The number of entries of all arrays in a type."""
    shapes = (shape for _, shape in SHAPE.findall(type_text))
    return sum(math.prod(int(n) for n in shape.split(",") if n) for shape in shapes)


def nbytes(type_text: str) -> int:
    """Bytes of all arrays in a type.

    Raises:
      DataError: a type whose size is not known.
    """
    total = 0
    for kind, shape in SHAPE.findall(type_text):
        if kind in UNSIZED:
            continue
        if kind not in SIZES:
            raise DataError(f"the size of XLA's type '{kind}' is not known: {type_text[:200]}")
        total += math.prod(int(n) for n in shape.split(",") if n) * SIZES[kind]
    return total
