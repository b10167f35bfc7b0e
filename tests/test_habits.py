"""Rules for the tests themselves."""

import ast

import pytest

from tests.helpers import ROOT

FILES = sorted((ROOT / "tests").rglob("*.py"))


def imported(path):
    """The names of the modules that a file imports, except in strings of code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_tests_share_helpers_and_not_each_other(path):
    ours = [name for name in imported(path) if name.split(".")[0] == "tests"]
    assert [name for name in ours if not name.startswith("tests.helpers.")] == []
