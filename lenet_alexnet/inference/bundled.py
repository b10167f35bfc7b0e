"""The trained networks that come with the package."""

from pathlib import Path

import lenet_alexnet
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.inference.model_file import SUFFIX

FOLDER = Path(lenet_alexnet.__file__).parent / "trained"


def names() -> list[str]:
    """Their names, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def find(model: str) -> Path:
    """The file of a trained network of the package, or the file at a path.

    Raises:
      UsageError: no such name, and not the path of a .safetensors file.
    """
    if model in names():
        return FOLDER / f"{model}{SUFFIX}"
    path = Path(model)
    if path.is_dir():
        raise UsageError(f"--model={model} is a folder: a run is named by --workdir={model}")
    if path.suffix == SUFFIX:
        return path
    if path.is_file():
        raise UsageError(
            f"--model={model} is no {SUFFIX} file: lenet-alexnet convert {model} "
            f"--to=FILE{SUFFIX} makes one"
        )
    raise UsageError(f"no trained network '{model}': {nearest(model, names())}")
