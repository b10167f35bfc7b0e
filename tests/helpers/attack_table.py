"""docs/attacks.md: every test that answers an attack, from the marks of the tests.

`python -m tests.helpers.attack_table` writes it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "attacks.md"
KINDS = {
    "silent": "Silent wrong results",
    "hangs": "Hanging and dying",
    "one line": "One line instead of a traceback",
    "foreign": "The code and the files of others",
}
HEAD = """# Faults and attacks

What users, machines and strangers can do to this program, and what happens then. The contract: a
mistake or a broken input ends in one line that begins with `error:` and exit code 1 or 2, without a
traceback; nothing wrong is computed silently; nothing hangs; no code of a stranger is run.

`make attack` runs these tests. Random inputs are in `tests/test_fuzz.py`, which `make test-all`
runs. This page is generated from the marks of the tests: `python -m tests.helpers.attack_table`.
"""


class Attack(NamedTuple):
    """A test that answers an attack."""

    kind: str
    attempted: str
    happens: str
    test: str


def marked() -> Iterator[Attack]:
    """Each test with the mark `attack`, read from the source."""
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            for mark in getattr(node, "decorator_list", ()):
                if isinstance(node, ast.FunctionDef) and "attack(" in ast.unparse(mark):
                    texts = [ast.literal_eval(text) for text in mark.args]
                    yield Attack(*texts, f"{path.name}::{node.name}")


def page() -> str:
    """The page as it should be."""
    from tests.helpers import malformed_files  # noqa: F401 (it adds its cases)
    from tests.helpers.malformed import CASES

    attacks = list(marked())
    parts = [HEAD]
    for kind, title in KINDS.items():
        rows = [(a.attempted, a.happens, f"`{a.test}`") for a in attacks if a.kind == kind]
        parts.append(f"## {title}\n\n" + _table(("attempted", "what happens", "test"), rows))
    rows = [
        (case.name, str(case.code), f"`{case.fragment}`" if case.fragment else "") for case in CASES
    ]
    parts.append(
        "## Malformed inputs\n\nThe cases of `test_malformed.py::test_one_line_and_the_exit_code`."
        "\n\n" + _table(("input", "exit code", "in the line"), rows)
    )
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(c.replace('|', '&#124;') for c in row)} |\n" for row in lines)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
