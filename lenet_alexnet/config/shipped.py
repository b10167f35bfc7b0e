"""The configs and run records that come with the package: in a checkout its own, else the wheel's.

setup.py puts them into a wheel, as lenet_alexnet/shipped/.
"""

import ast
import os
from pathlib import Path

import lenet_alexnet
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.runtime import storage

_PACKAGE = Path(lenet_alexnet.__file__).parent
IN_WHEEL = (_PACKAGE / "shipped").is_dir()
ROOT = _PACKAGE / "shipped" if IN_WHEEL else _PACKAGE.parent  # has configs/ and experiments/
CONFIGS = ROOT / "configs"


def names() -> list[str]:
    """The names of all configs: their paths below configs/, without the suffix."""
    paths = sorted(CONFIGS.glob("*.py")) + sorted(CONFIGS.glob("*/*.py"))
    return [path.relative_to(CONFIGS).with_suffix("").as_posix() for path in paths]


def path_of(name: str) -> Path:
    """The file of the config with this name; UsageError names the nearest one if there is none."""
    known = names()
    if name not in known:
        raise UsageError(f"no config '{name}': {nearest(name, known)}")
    return CONFIGS / f"{name}.py"


def same_as(path: str) -> str:
    """The name of the config that has this path in a checkout; "" if there is none."""
    text = "/" + Path(path).as_posix()
    ends = [name for name in names() if text.endswith(f"/{name}.py")]
    return max(ends, key=len, default="")


def title(name: str) -> str:
    """The first line of a config's docstring."""
    return (ast.get_docstring(_tree(path_of(name))) or "").split("\n")[0]


def with_neighbours(name: str) -> list[Path]:
    """The file of a config, and the other configs that it needs: those that it imports, and theirs.

    Raises:
      UsageError: no config has this name.
    """
    found = [path_of(name)]
    for path in found:  # It grows.
        for module in _imported(path):
            # As when it runs: its own folder, then the one above.
            places = [folder / f"{module}.py" for folder in (path.parent, path.parent.parent)]
            there = [place for place in places if place.is_file() and CONFIGS in place.parents]
            found += [place for place in there[:1] if place not in found]
    return found


def copy(name: str, folder: Path) -> list[Path]:
    """Copies a config and the configs that it needs into one folder; returns the copies.

    Nothing is overwritten; a file that is there with the same content is kept.

    Raises:
      UsageError: no such config, a file is there with other content, or the folder is not writable.
    """
    files = with_neighbours(name)
    for file in files:
        copied = folder / file.name
        if os.path.lexists(copied) and not _same(file, copied):
            raise UsageError(f"'{copied}' exists and has other content: name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            if not (folder / file.name).exists():
                with storage.written_whole(folder / file.name, "wb") as copied_to:
                    copied_to.write(file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot copy to '{folder}': {error.strerror or error}") from error
    return [folder / file.name for file in files]


def _same(file: Path, other: Path) -> bool:
    try:
        with storage.open_here(other) as opened:
            return bool(opened.read() == file.read_bytes())
    except OSError:
        return False


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _imported(path: Path) -> list[str]:
    """The modules that a file imports."""
    found = []
    for node in _tree(path).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return found
