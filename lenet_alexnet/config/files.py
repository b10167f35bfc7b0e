"""Loading config files; errors of their code become one line."""

import contextlib
import importlib.util
import itertools
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lenet_alexnet.config import shipped
from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime.storage import expand

NAME = re.compile(r"[\w-]+(/[\w-]+)*")  # of a config; a path has a dot, or begins with / or ~
MOST_TRIALS = 100_000  # of a sweep: an endless list is a mistake


def load(path: str) -> Any:
    """The module of a config file, which may import its neighbours by their names.

    A name without suffix and folder of its own, as `lenet5_mnist` or `sweeps/lenet5_lr_seeds`, is
    that of a config which comes with the package.

    Its `get_config()`, `sweep()` and `search()` raise UsageError for any error in them.

    Raises:
      UsageError: no such file or name, an error in the file, or no get_config.
    """
    file = _find(path)
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"config file '{path}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    with _running(file, f"config file '{path}'"):
        spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UsageError(f"config file '{path}' has no get_config()")
    for name, what in (
        ("get_config", f"config file '{path}'"),
        ("sweep", f"sweep() of '{path}'"),
        ("search", f"search() of '{path}'"),
    ):
        if hasattr(module, name):
            setattr(module, name, _guarded(getattr(module, name), file, what))
    return module


def _find(path: str) -> Path:
    """The file at a path, or of the name of a config that comes with the package."""
    file = expand(path)
    if NAME.fullmatch(path) and (path in shipped.names() or not file.exists()):
        return shipped.path_of(path)
    if file.is_file():
        return file
    if name := shipped.same_as(path):
        raise UsageError(f"no config file '{path}'; the package has it: --config={name}")
    neighbours = sorted(p.name for p in file.parent.glob("*.py")) if file.parent.is_dir() else []
    hint = f" (there are: {', '.join(neighbours)})" if neighbours else ""
    raise UsageError(f"no config file '{path}'{hint}")


def _guarded(function: Any, file: Path, what: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        with _running(file, what):
            result = function(*arguments)
            # A generator runs when it is read: here, and only to a limit.
            return at_most(result, what) if isinstance(result, Iterator) else result

    return call


@contextlib.contextmanager
def _running(file: Path, what: str) -> Iterator[None]:
    """Inside, the code of a config file finds its neighbours, and its errors become one line."""
    folder, above = file.parent.resolve(), file.parent.parent.resolve()
    # With the folder above, configs/sweeps/ finds configs/. It comes last, so that no file there
    # replaces an installed package, and is left out if everyone may write to it, as in /tmp.
    below = [] if above.stat().st_mode & stat.S_IWOTH or str(above) in sys.path else [str(above)]
    before, folders = set(sys.modules), [str(folder), *below]
    sys.path[:] = [str(folder), *sys.path, *below]
    try:
        yield
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        line = " ".join(str(error).split())
        raise UsageError(f"{what} fails: {type(error).__name__}: {line}") from error
    finally:
        for name in folders:
            sys.path.remove(name)
        # A neighbour of the same name in another folder must not be used for this one.
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if str(Path(origin).parent) in folders:
                del sys.modules[name]


def at_most(items: Iterable[Any], what: str) -> list[Any]:
    """The items as a list; UsageError if there are more than a sweep may have."""
    found = list(itertools.islice(items, MOST_TRIALS + 1))
    check_count(len(found), what)
    return found


def check_count(count: int, what: str) -> None:
    """Raises UsageError if there are more trials than a sweep may have."""
    if count > MOST_TRIALS:
        more = "more than" if count == MOST_TRIALS + 1 else f"{count:,}, more than"
        raise UsageError(f"{what} yields {more} {MOST_TRIALS:,} trials")
