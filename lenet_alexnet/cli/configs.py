"""The command `configs`: the configs that come with the package."""

from collections.abc import Callable
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import Command
from lenet_alexnet.config import shipped
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.runtime.storage import expand


def define(values: flags.FlagValues) -> None:
    """It has no flags."""


def run(values: Any, rest: list[str]) -> int:
    """Runs `list`, `show NAME` or `copy NAME [DIR]`; returns the exit code."""
    action, *arguments = rest or [""]
    if action not in ACTIONS:
        raise UsageError(f"unknown action '{action}': {nearest(action, ACTIONS)}")
    takes, counts, function = ACTIONS[action]
    if len(arguments) not in counts:
        raise UsageError(f"configs {action} takes {takes}")
    function(*arguments)
    return 0


def list_all() -> None:
    """Prints the name of each config and the first line of its docstring."""
    known = shipped.names()
    width = max(map(len, known), default=0)
    for name in known:
        print(f"{name:<{width}}  {shipped.title(name)}")


def show(name: str) -> None:
    """Prints a config file."""
    print(shipped.path_of(name).read_text(encoding="utf-8"), end="")


def copy(name: str, folder: str = ".") -> None:
    """Copies a config and the configs that it imports."""
    print("copied: " + ", ".join(map(str, shipped.copy(name, expand(folder)))))


# The arguments in words, their possible numbers, and the function.
ACTIONS: dict[str, tuple[str, tuple[int, ...], Callable[..., None]]] = {
    "list": ("no name", (0,), list_all),
    "show": ("one name, e.g. lenet5_mnist", (1,), show),
    "copy": ("one name, e.g. lenet5_mnist, and at most one folder", (1, 2), copy),
}
COMMAND = Command(
    help="lists, shows and copies the configs that come with the package",
    usage="list | show NAME | copy NAME [DIR]",
    define=define,
    run=run,
)
