"""Checks of class names: those of folders, and those of two splits."""

import unicodedata
from collections.abc import Sequence

from lenet_alexnet.errors import DataError

# Control characters, bytes that are not UTF-8, and the separators of lines and paragraphs.
UNFIT = {"Cc", "Cs", "Zl", "Zp"}


def check_names(names: Sequence[str], where: str) -> None:
    """Raises DataError unless a file with one name per line can hold the names of these folders.

    tfds strips the lines and omits empty ones: a class would vanish, or take another's name.
    """
    for name in names:
        if name != name.strip() or any(unicodedata.category(c) in UNFIT for c in name):
            raise DataError(
                f"{where}: the name of class folder {name!a} begins or ends with a blank, or has "
                "control characters or bytes that are not UTF-8: rename it"
            )


def check_same(names: Sequence[str], others: Sequence[str], what: str, other: str) -> None:
    """Raises DataError unless two splits have the same classes in the same order."""
    if tuple(names) == tuple(others):
        return
    lacking = [name for name in others if name not in names]
    more = [name for name in names if name not in others]
    parts = [f"{verb} {_few(some)}" for verb, some in (("lacks", lacking), ("has", more)) if some]
    how = " and ".join(parts) or "has them in another order"
    raise DataError(f"{what} has other classes than {other}: it {how}")


def check_known(names: Sequence[str], known: Sequence[str], what: str, other: str) -> None:
    """Raises DataError if there are classes that training does not have."""
    if unknown := [name for name in names if name not in known]:
        some = "classes" if len(unknown) > 1 else "a class"
        raise DataError(f"{what} has {some} {_few(unknown)} that {other} does not have")


def _few(names: Sequence[str]) -> str:
    text = ", ".join(f"'{name}'" for name in names[:5])
    return text + (f" and {len(names) - 5} more" if len(names) > 5 else "")
