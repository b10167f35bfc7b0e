"""Reads what W&B stores offline: records in LevelDB's log format, after a header of 7 bytes."""

import json
import struct

BLOCK, HEADER = 1 << 15, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(folder):
    """The records of all offline sessions of a run's folder, in their order."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in _data(path.read_bytes()):
            yield Record.FromString(data)


def _data(content):
    place, whole = HEADER, b""
    while place + HEADER <= len(content):
        left = BLOCK - place % BLOCK
        if left < HEADER:  # The rest of a block is too short for a chunk.
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        chunk = content[place + HEADER : place + HEADER + length]
        whole = chunk if kind in (FULL, FIRST) else whole + chunk
        place += HEADER + length
        if kind in (FULL, LAST):
            yield whole


def history(folder):
    """The lines that W&B has: (W&B's step, the numbers)."""
    for record in records(folder):
        if record.HasField("history"):
            items = record.history.item
            numbers = {"/".join(x.nested_key) or x.key: json.loads(x.value_json) for x in items}
            yield record.history.step.num, numbers
