"""Reads safetensors files: our own checks of the header, then the `safetensors` library."""

import json
import os
from pathlib import Path
from typing import IO, Any

import numpy as np

from lenet_alexnet.weights.weight_file import Unreadable

MOST_HEADER = 16 << 20  # bytes; ours have some hundred


def read(file: IO[bytes], path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata of an open file.

    Raises:
      Unreadable: its header is too long or damaged, or it has other sizes than the header says.
    """
    _check_header(file, os.fstat(file.fileno()).st_size)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(" ".join(str(error).split())[:200] or "it is damaged") from error
    return arrays, metadata


def _check_header(file: IO[bytes], size: int) -> None:
    """Raises Unreadable unless the header, and all that it names, is within the file."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise Unreadable(f"its header of {length:,} bytes is longer than the file of {size:,}")
    if length > MOST_HEADER:
        raise Unreadable(f"its header of {length:,} bytes is too long for a file of weights")
    try:
        header = json.loads(file.read(length))
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        ends = [entry["data_offsets"][1] for entry in entries]
        within = all(isinstance(end, int) and 0 <= end <= size - 8 - length for end in ends)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise Unreadable("its header is damaged") from error
    if not within:
        raise Unreadable("it is truncated: its header names more bytes than there are")
