"""The package: imports between rooms run only downwards, without cycles; nothing is too long."""

import ast
import itertools
import subprocess
from functools import cache

import pytest

from tests.helpers import ROOT

PACKAGE = "lenet_alexnet"
# From the top: a room may import only itself and the rooms below it.
ROOMS = (
    "cli", "reproduce", "bench", "report", "demo", "plan", "sweep", "exchange", "library", "doctor",
    "inference", "info", "training", "sinks", "runs", "weights", "plots", "pages", "config", "data",
    "optimizers", "models", "losses", "ops", "runtime", "errors",
)  # fmt: skip
AT_THE_ROOT = {"__init__", "__main__", "errors", "losses", "pages", "plots"}
# Functions that are tables may be as long as the table.
TABLES = {"lenet_alexnet.config.sections.base"}
LONGEST = {"module": 250, "class": 150, "function": 60}
MOST_SKIPS = 20  # at most this many "fmt: skip" in the repository


@cache
def modules():
    """Dotted name -> syntax tree."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text())
    return found


def imported(name, tree, *, lazily):
    """Modules of the package that a module imports; `lazily` counts those inside functions too."""
    nodes = ast.walk(tree) if lazily else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                target = whole if whole in modules() else node.module
                if target != name:
                    yield target


def room(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_imports_between_rooms_run_downwards():
    upwards = []
    for name, tree in modules().items():
        if room(name) in ("", "__main__"):
            continue
        for target in imported(name, tree, lazily=True):
            if room(target) and ROOMS.index(room(target)) < ROOMS.index(room(name)):
                upwards.append(f"{name} -> {target}")
    assert upwards == []


def test_every_room_has_its_place():
    rooms = {room(name) for name in modules()} - {"", "__main__"}
    assert rooms == set(ROOMS)
    files = {path.stem for path in (ROOT / PACKAGE).glob("*.py")}
    assert files == AT_THE_ROOT


def test_no_circles():
    graph = {n: set(imported(n, tree, lazily=True)) for n, tree in modules().items()}
    # Importing a module imports its package, whose names come from its modules.
    packages = {name for name in graph if any(other.startswith(f"{name}.") for other in graph)}
    done, circles = set(), []

    def visit(name, path):
        if name in path:
            circles.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for target in graph[name]:
                if target not in packages or name not in packages:
                    visit(target, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    assert circles == []


def lengths():
    for name, tree in modules().items():
        lines = max((getattr(node, "end_lineno", 0) for node in tree.body), default=0)
        yield "module", name, lines
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield "class", f"{name}.{node.name}", node.end_lineno - node.lineno + 1
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield "function", f"{name}.{node.name}", node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("kind", LONGEST)
def test_nothing_is_too_long(kind):
    long = {n: size for what, n, size in lengths() if what == kind and size > LONGEST[kind]}
    assert {n: size for n, size in long.items() if n not in TABLES} == {}


def test_few_lines_keep_their_own_format():
    text = "fmt: " + "skip"
    done = subprocess.run(
        ["git", "grep", "-c", text, "--", "*.py"], cwd=ROOT, capture_output=True, text=True
    )
    counts = [int(line.rpartition(":")[2]) for line in done.stdout.splitlines()]
    assert sum(itertools.chain(counts)) <= MOST_SKIPS
