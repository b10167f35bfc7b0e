"""Reads a file of weights, whichever format it has."""

from pathlib import Path
from typing import IO, Any

from lenet_alexnet.data.foreign_files import open_regular
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.weights import caffe_file, npy_file, safetensors_file, torch_file
from lenet_alexnet.weights.archive import Archive
from lenet_alexnet.weights.weight_file import Unreadable, WeightFile

ZIP, NPY, HDF5 = b"PK\x03\x04", b"\x93NUMPY", b"\x89HDF\r\n\x1a\n"


def read(path: str | Path) -> WeightFile:
    """The arrays of a file of weights: .pth, .caffemodel, .npz, .npy or .safetensors.

    The content decides the format; only .caffemodel and .safetensors are also known by their
    names, as a broken one of these cannot be recognised.

    Raises:
      UsageError: no such file. DataError: of no known format, damaged, or it would need code to
        be run.
    """
    try:
        with open_regular(path) as file:
            arrays, kind, metadata = _read(file, Path(path))
    except FileNotFoundError as error:
        raise UsageError(f"no file '{path}'") from error
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    except Unreadable as error:
        raise DataError(f"cannot read '{path}': {error}") from error
    if not arrays:
        raise DataError(f"cannot read '{path}': it holds no weights")
    return WeightFile(str(path), kind, arrays, metadata)


def _read(file: IO[bytes], path: Path) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The arrays, the format and the metadata."""
    head = file.read(16)
    file.seek(0)
    suffix = path.suffix.lower()
    if head.startswith(ZIP):
        with Archive(file) as archive:
            if torch_file.root(archive) is not None:
                return torch_file.read(archive), "torch", {}
            return npy_file.read_zip(archive), "npz", {}
    if head.startswith(NPY):
        return npy_file.read(file), "npy", {}
    if suffix == ".caffemodel":
        arrays, layers = caffe_file.read(file.read())
        return arrays, "caffe", {"layers": layers}
    if suffix == ".safetensors" or head[8:9] == b"{":
        arrays, metadata = safetensors_file.read(file, path)
        return arrays, "safetensors", metadata
    if head.startswith(torch_file.LEGACY):
        raise Unreadable(torch_file.LEGACY_WAY_OUT)
    if head.startswith(b"\x80"):
        raise Unreadable("it is a pickle, which can hold code; save the weights as safetensors")
    if head.startswith(HDF5):
        raise Unreadable("it is an HDF5 file; save its arrays as safetensors or .npz")
    raise Unreadable("it is no .pth, .caffemodel, .npz, .npy or .safetensors file")
