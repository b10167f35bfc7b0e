"""Encodes and decodes a record: image, label and file name as a tf.train.Example.

tfds reads and writes the same messages. Without the protobuf library the bytes depend only on the
content (it may write a map's entries in any order), and an image of 196,608 bytes is read without a
copy.
"""

from collections.abc import Iterator
from typing import NamedTuple

# Fields of tf.train.Example: features=1; Features: feature=1, a map of key=1, value=2;
# Feature: bytes_list=1, int64_list=3; both lists: value=1.
BYTES, INT64 = 1, 3
DELIMITED = 2  # the wire type of everything here


class Example(NamedTuple):
    """A record's content: the image as stored (raw bytes or JPEG), its label, its file."""

    image: bytes | memoryview
    label: int
    file_name: str


def encode(example: Example) -> bytes:
    """The record of an example."""
    image = _feature(b"image", BYTES, bytes(example.image))
    label = _feature(b"label", INT64, _varint(example.label))
    # File names are bytes: bytes that are not UTF-8 are kept.
    file_name = example.file_name.encode(errors="surrogateescape")
    name = _feature(b"file_name", BYTES, file_name)
    return _field(1, image + label + name)


def decode(record: bytes) -> tuple[memoryview, int]:
    """The stored image and the label of a record; ValueError if it is not such a record."""
    image: memoryview | None = None
    label: int | None = None
    try:
        features = next(_fields(memoryview(record)))[1]
        for _, entry in _fields(features):
            parts = dict(_fields(entry))
            kind, values = next(_fields(parts[2]))
            value = next(_fields(values))[1]
            if parts[1] == b"image" and kind == BYTES:
                image = value
            elif parts[1] == b"label" and kind == INT64:
                label = _read_varint(value, 0)[0]
    except (StopIteration, KeyError, IndexError) as error:
        raise ValueError("damaged record") from error
    if image is None or label is None:
        raise ValueError("a record without image or label")
    return image, label


def _feature(name: bytes, kind: int, value: bytes) -> bytes:
    return _field(1, _field(1, name) + _field(2, _field(kind, _field(1, value))))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits per byte, lowest first; the high bit is set if more bytes follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _read_varint(buffer: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _fields(buffer: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The numbers and contents of a message's fields."""
    position = 0
    while position < len(buffer):
        tag, position = _read_varint(buffer, position)
        if tag & 7 != DELIMITED:
            raise ValueError("a record of another kind")
        length, position = _read_varint(buffer, position)
        if position + length > len(buffer):
            raise ValueError("a truncated record")
        yield tag >> 3, buffer[position : position + length]
        position += length
