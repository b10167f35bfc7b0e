"""The wire format of protocol buffers: the fields of a message, without its definition."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lenet_alexnet.weights.weight_file import Unreadable

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
FIXED = {EIGHT_BYTES: 8, FOUR_BYTES: 4}


class Field(NamedTuple):
    """One field, or a run of equal fields of 4 or 8 bytes.

    Attributes:
      number: of the field in its message.
      wire: its wire type.
      varint: its value, if it is a varint.
      content: its bytes, if it is not; of a run, all values together.
    """

    number: int
    wire: int
    varint: int
    content: memoryview


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message in order; Unreadable if it is damaged."""
    at = 0
    while at < len(message):
        start = at
        tag, at = varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = varint(message, at)
            yield Field(number, wire, value, message[:0])
        elif wire == BYTES:
            length, at = varint(message, at)
            if length > len(message) - at:
                raise Unreadable("it is truncated or damaged")
            yield Field(number, wire, 0, message[at : at + length])
            at += length
        elif wire in FIXED:
            content, at = _run(message, start, at, FIXED[wire])
            yield Field(number, wire, 0, content)
        else:
            raise Unreadable("it is no protocol buffer, or damaged")


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it; Unreadable if it does not end."""
    value = 0
    for i, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise Unreadable("it is truncated or damaged")


def _run(message: memoryview, start: int, at: int, size: int) -> tuple[memoryview, int]:
    """The values of all fields from `start` on with the same tag, and the place after them.

    Files with millions of unpacked floats are read at once.
    """
    tag = bytes(message[start:at])
    whole = len(tag) + size
    count = (len(message) - start) // whole
    if not count:
        raise Unreadable("it is truncated or damaged")
    rows = np.frombuffer(message[start : start + count * whole], np.uint8).reshape(count, whole)
    same = (rows[:, : len(tag)] == np.frombuffer(tag, np.uint8)).all(1)
    count = count if same.all() else int(same.argmin())
    return memoryview(rows[:count, len(tag) :].tobytes()), start + count * whole
