"""Writes our files of weights: safetensors, with what the use of the network needs as metadata."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage
from lenet_alexnet.weights import names
from lenet_alexnet.weights.weight_file import WeightFile

KEY = "lenet_alexnet"  # of our entry in the metadata of the file


def write(
    path: str | Path,
    variables: Any,
    metadata: Mapping[str, Any],
    *,
    more: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes variables to a safetensors file, whole or not at all.

    Args:
      path: of the file.
      variables: of a network; keys become params/conv1/kernel ...
      metadata: entries that JSON can hold: "model" (a config's section), "data" (the
        preprocessing), "class_names" ...; a checksum of the arrays is added.
      more: arrays that are no weights, such as statistics/mean_image.

    Raises:
      DataError: it cannot be written.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(a) for name, a in names.flatten(variables).items()} | dict(
        more or {}
    )
    arrays = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
    # One entry: safetensors writes several in an order that changes from file to file.
    entries = {KEY: json.dumps({**metadata, "sha256": checksum(arrays)}, sort_keys=True)}
    try:
        with storage.written_whole(Path(path), "wb") as file:
            file.write(save(arrays, metadata=entries))
    except OSError as error:
        raise DataError(f"cannot write '{path}': {error.strerror or error}") from error


def metadata(file: WeightFile) -> dict[str, Any] | None:
    """What `write` was given; None for a file that is not ours.

    Raises:
      DataError: the arrays are not those that were written, or the metadata are damaged.
    """
    if KEY not in file.metadata:
        return None
    try:
        entries = dict(json.loads(file.metadata[KEY]))
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"cannot read '{file.path}': its metadata are damaged") from error
    if entries.pop("sha256", None) != checksum(file.arrays):
        raise DataError(f"cannot read '{file.path}': its weights are not as they were written")
    return entries


def checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """The sha256 of arrays: names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
