"""Reads .npz and .npy files of plain arrays; pickles in them are refused."""

import io
import math
from typing import IO, Any

import numpy as np

from lenet_alexnet.weights.archive import Archive
from lenet_alexnet.weights.weight_file import Unreadable

# TensorFlow conversions of Caffe's networks (bvlc_alexnet.npy) are a pickled dict of lists.
WAY_OUT = (
    'it is a pickle, which can hold code; if you trust it, convert it: python -c "import numpy as '
    "np; d = np.load('FILE.npy', allow_pickle=True, encoding='latin1').item(); "
    "np.savez('FILE.npz', **{f'{k}/{n}': a for k, v in d.items() "
    "for n, a in zip(('weights', 'biases'), v)})\""
)


def read_zip(archive: Archive) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, by name."""
    others = [name for name in archive.sizes if not name.endswith(".npy")]
    if others or not archive.sizes:
        raise Unreadable("it is a zip, but neither torch's nor NumPy's")
    return {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.sizes}


def read(file: IO[bytes]) -> dict[str, np.ndarray]:
    """The fields of a structured array: those of nested ones by LAYER/NAME."""
    array = _array(file.read())
    if array.dtype.names is None:
        raise Unreadable("it is one array without names; save all of them in an .npz file")
    return _fields(array.reshape(()) if array.size == 1 else array, "")


def _fields(array: Any, prefix: str) -> dict[str, np.ndarray]:
    found = {}
    for name in array.dtype.names:
        if array[name].dtype.names is None:
            found[prefix + name] = array[name]
        else:
            found |= _fields(array[name], f"{prefix}{name}/")
    return found


def _array(content: bytes) -> np.ndarray:
    """The array in an .npy file; Unreadable if it is a pickle or of another size."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = header(file)
    except Exception as error:  # NumPy parses the header with many kinds of errors.
        raise Unreadable("it is damaged") from error
    if dtype.hasobject:
        raise Unreadable(WAY_OUT)
    start = file.tell()
    length = len(content) - start
    if not length or math.prod(shape) * dtype.itemsize != length:
        raise Unreadable(f"an array of {shape} has {length:,} bytes: it is damaged")
    flat = np.frombuffer(content, dtype, offset=start)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
