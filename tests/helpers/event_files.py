"""Reads TensorBoard's event files: records of (length, checksum, bytes, checksum)."""

import struct


def events(folder):
    """The events of the only file in a folder."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.out.tfevents.*")
    data, place = path.read_bytes(), 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        yield Event.FromString(data[place + 12 : place + 12 + length])
        place += length + 16


def values(folder):
    """(tag, step, value) of each summary, in the order of the file."""
    return [
        (value.tag, event.step, value) for event in events(folder) for value in event.summary.value
    ]


def scalars(folder):
    """Tag -> [(step, number)]."""
    found = {}
    for tag, step, value in values(folder):
        if value.WhichOneof("value") == "simple_value":
            found.setdefault(tag, []).append((step, value.simple_value))
    return found
