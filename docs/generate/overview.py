"""Pages generated from the code: the rooms and their modules, the commands, the API."""

import ast
import contextlib
import functools
import io
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "lenet_alexnet"


def rooms() -> list[str]:
    """The folders of the package, from the top of the imports down; then the package itself."""
    order = _by_imports()
    return [*order, "lenet_alexnet"]


@functools.cache
def _by_imports() -> list[str]:
    """The folders, ordered so that each imports only from later ones; otherwise by name."""
    names = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    imports = {name: _imported(name) & set(names) - {name} for name in names}
    found: list[str] = []
    while len(found) < len(names):
        used = {below for name in names if name not in found for below in imports[name]}
        free = [name for name in names if name not in found and name not in used]
        found += free or [name for name in names if name not in found]
    return found


@functools.cache
def _imported(room: str) -> set[str]:
    """The folders from which the modules of a folder import."""
    found = set()
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "lenet_alexnet":
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                package, _, rest = node.module.partition(".")
                found |= {rest.split(".")[0]} if package == "lenet_alexnet" else set()
    return found


def modules(room: str) -> list[str]:
    """The dotted names of a room's modules, the room itself first."""
    if room == "lenet_alexnet":
        paths = sorted(path for path in PACKAGE.glob("*.py") if path.name != "__main__.py")
    else:
        paths = sorted((PACKAGE / room).rglob("*.py"))
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    return sorted(name.removesuffix(".__init__") for name in names)


def module(path: str) -> str:
    """The dotted name of a module or package by its path in the repository, "" if it is none."""
    file = ROOT / path
    if not path.startswith("lenet_alexnet") or path.endswith("__main__.py"):
        return ""
    if file.is_dir() and (file / "__init__.py").is_file():
        return ".".join(Path(path).parts)
    if file.is_file() and file.suffix == ".py":
        return ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")
    return ""


def first_line(name: str) -> str:
    """The first line of a module's docstring."""
    path = ROOT / Path(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0].strip()


def room_tables() -> str:
    """For every room, a table of its modules with their contents."""
    parts = []
    for room in rooms():
        own, *inside = modules(room)
        title = "root of the package" if room == "lenet_alexnet" else f"{room}/"
        head = f"### {title}\n\n{first_line(own)}"
        if room != "lenet_alexnet":
            below = sorted(_imported(room) & set(rooms()) - {room})
            head += f" Imports from: {', '.join(below) or 'no other room'}."
        rows = [f"| [`{_short(name)}`][{name}] | {_cell(first_line(name))} |" for name in inside]
        table = "| module | what is in it |\n|---|---|\n" + "\n".join(rows)
        parts.append(f"{head}\n\n{table}" if rows else head)
    return "\n\n".join(parts)


def _short(name: str) -> str:
    return name.removeprefix("lenet_alexnet.")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def api_index() -> str:
    """The list of rooms with their pages."""
    rows = []
    for room in rooms():
        name = room if room == "lenet_alexnet" else f"lenet_alexnet.{room}"
        rows.append(f"| [`{name}`]({room}.md) | {_cell(first_line(name))} |")
    return (
        "# API\n\nGenerated from the docstrings of the code, one page per room. "
        "[Library use](../library.md) has examples.\n\n| room | what is in it |\n|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def api_page(room: str) -> str:
    """All modules of a room, for mkdocstrings."""
    blocks = "\n\n".join(f"::: {name}" for name in modules(room))
    return f"# {room}\n\n{blocks}\n"


def commands() -> str:
    """The help text of every command."""
    from lenet_alexnet.cli import main
    from lenet_alexnet.cli.entry import COMMANDS

    def printed(*arguments: str) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main(["lenet-alexnet", *arguments])
        return f"```text\n{out.getvalue()}```"

    parts = [f"## {name}\n\n{printed(name, '--help')}" for name in COMMANDS]
    return (
        "# Commands\n\nWhat `--help` prints. `python -m lenet_alexnet` is the same program.\n\n"
        + "\n\n".join([printed("--help"), *parts])
        + "\n"
    )
