"""The wire format of protocol buffers: the fields of a message, without its definition."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lenet_alexnet.weights.weight_file import Unreadable

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
FIXED = {EIGHT_BYTES: 8, FOUR_BYTES: 4}
MOST_FIELDS = 100_000  # of a message, runs counted once; networks have a few hundred


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
    """The fields of a message in order; Unreadable if it is damaged or has too many."""
    at = count = 0
    while at < len(message):
        start, count = at, count + 1
        if count > MOST_FIELDS:
            raise Unreadable(f"a part of it has more than {MOST_FIELDS:,} fields: it is no network")
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
    most = (len(message) - start) // whole
    if not most:
        raise Unreadable("it is truncated or damaged")
    found, block = [], 16  # Blocks grow, so that a file of short runs is not read again and again.
    done = 0
    while done < most:
        here = min(block, most - done)
        first = start + done * whole
        rows = np.frombuffer(message[first : first + here * whole], np.uint8).reshape(here, whole)
        same = (rows[:, : len(tag)] == np.frombuffer(tag, np.uint8)).all(1)
        count = here if same.all() else int(same.argmin())
        found.append(rows[:count, len(tag) :].tobytes())
        done, block = done + count, 2 * block
        if count < here:
            break
    return memoryview(b"".join(found)), start + done * whole
