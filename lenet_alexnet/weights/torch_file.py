"""Reads the tensors of a state dict from torch's zip format, without torch and without pickle.

The zip holds `data.pkl`, a pickle that describes the tensors, and one file for the bytes of each
storage (torch/serialization.py).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from lenet_alexnet.weights import pickles
from lenet_alexnet.weights.archive import Archive
from lenet_alexnet.weights.weight_file import Unreadable

# The first pickle of the format before torch 1.6: a magic number.
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_WAY_OUT = (
    "it has torch's format from before 1.6; with torch, convert it: "
    "torch.save(torch.load('OLD', weights_only=True), 'NEW')"
)
MOST_DESCRIPTION = 64 << 20  # bytes of data.pkl
STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
STATE_DICTS = ("state_dict", "model_state_dict", "model")  # where checkpoints have it


class Tensor(NamedTuple):
    """An array of a pickle, not to be confused with what else is there."""

    array: np.ndarray


def root(archive: Archive) -> str | None:
    """The folder inside the zip, with its slash; None if it is not torch's."""
    found = [name for name in archive.sizes if name.rpartition("/")[2] == "data.pkl"]
    return found[0].removesuffix("data.pkl") if len(found) == 1 else None


def read(archive: Archive) -> dict[str, np.ndarray]:
    """The tensors of the state dict, by name.

    Raises:
      Unreadable: damaged; no state dict; or it names what a state dict does not need.
    """
    folder = root(archive) or ""
    order = f"{folder}byteorder"
    if order in archive.sizes and archive.read(order) != b"little":
        raise Unreadable("its numbers are big-endian")
    if archive.sizes[f"{folder}data.pkl"] > MOST_DESCRIPTION:
        raise Unreadable("its data.pkl is too large for a state dict")
    storages: dict[str, np.ndarray] = {}
    makers: dict[str, Callable[..., Any]] = {
        "collections.OrderedDict": _ordered_dict,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        **{f"torch.{name}": _refuse for name in STORAGES},
    }
    content = pickles.load(
        archive.read(f"{folder}data.pkl"), makers, partial(_storage, archive, folder, storages)
    )
    return _state_dict(content)


def _state_dict(content: Any) -> dict[str, np.ndarray]:
    """The tensors of a state dict, or of the one in a checkpoint."""
    for _ in range(2):
        if not isinstance(content, dict):
            break
        found = {k: v.array for k, v in content.items() if isinstance(v, Tensor)}
        if found:
            if not all(isinstance(name, str) for name in found):
                raise Unreadable("its state dict has keys that are no names")
            return found
        content = next((content[key] for key in STATE_DICTS if key in content), None)
    raise Unreadable("it holds no state dict of tensors")


def _storage(archive: Archive, folder: str, known: dict[str, np.ndarray], id: Any) -> np.ndarray:
    """The numbers of a storage; tensors may share one."""
    kind, type_name, key, _, count = id
    dtype = STORAGES[type_name.name.removeprefix("torch.")]
    if kind != "storage" or not isinstance(key, str) or not isinstance(count, int):
        raise Unreadable("its pickle is damaged")
    if key not in known:
        name = f"{folder}data/{key}"
        if archive.sizes.get(name, count * dtype.itemsize) != count * dtype.itemsize:
            raise Unreadable(f"its '{name}' is not {count} numbers of {dtype}")
        known[key] = np.frombuffer(archive.read(name), dtype)
    if known[key].dtype != dtype or len(known[key]) != count:
        raise Unreadable(f"its storage {key!a:.20} has two types or sizes")
    return known[key]


def _tensor(
    storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    """A view of a storage; Unreadable if it reaches beyond, or repeats numbers."""
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
        raise Unreadable("its pickle is damaged")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count > len(storage) or (count and last >= len(storage)):
        raise Unreadable(f"a tensor of {size} reaches beyond its storage of {len(storage)} numbers")
    steps = [step * storage.itemsize for step in stride]
    rest = storage[offset:]
    return Tensor(np.lib.stride_tricks.as_strided(rest, size, steps, writeable=False))


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data


def _ordered_dict(*pairs: Any) -> dict[Any, Any]:
    return dict(*pairs)


def _refuse(*_: Any) -> None:
    raise Unreadable("its pickle makes a storage, which a state dict does not need")
