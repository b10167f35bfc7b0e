"""The sha256 of each file of a prepared data set, stored in checksums.json beside them."""

import json
from collections.abc import Mapping
from pathlib import Path

from lenet_alexnet.data.foreign_files import load_json
from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage

FILE = "checksums.json"


def write(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Writes the sha256 of every file in `folder`; `known` gives some of them by file name."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    sums = {path.name: (known or {}).get(path.name) or storage.sha256(path) for path in files}
    with storage.written_whole(folder / FILE) as file:
        file.write(json.dumps(sums, indent=1) + "\n")


def read(folder: Path) -> dict[str, str]:
    """File name -> sha256, {} if nothing was written; DataError if it is damaged."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        sums = load_json(path)
        if not sums or any(Path(name).name != name for name in sums):
            raise ValueError("no checksums of the files beside it")
        if not all(isinstance(checksum, str) for checksum in sums.values()):
            raise ValueError("a checksum is not a string")
        return dict(sums.items())
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}): prepare again") from error
