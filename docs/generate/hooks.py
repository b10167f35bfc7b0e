"""What `mkdocs build` adds to docs/: generated pages, and pages from other folders.

Links in docs/ work in the repository (../configs/lenet5_mnist.py); here they become links between
the pages of the site.
"""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import config_keys  # noqa: E402
import overview  # noqa: E402

PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")  # in the repository's root
LINK = re.compile(r"\[([^\]\[]*(?:\[[^\]]*\][^\]\[]*)?)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
CONFIG_PAGES = "config_files"


def on_config(config: Any) -> Any:
    """Replaces the folders in the navigation by lists of their generated pages."""
    config.nav = _listed(config.nav)
    return config


def _listed(entries: list[Any]) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        (title, target), *_ = entry.items() if isinstance(entry, dict) else [(None, entry)]
        if isinstance(target, list):
            entry = {title: _listed(target)}
        elif target in FOLDERS:
            entry = {title: FOLDERS[target]()}
        found.append(entry)
    return found


def _experiments() -> list[Any]:
    folders = sorted(path.parent for path in ROOT.glob("experiments/*/README.md"))
    pages: list[Any] = ["experiments/README.md"]
    for folder in folders:
        notes = [
            {f"{folder.name}, notes": f"experiments/{folder.name}/{path.name}"}
            for path in sorted(folder.glob("NOTES.md"))
        ]
        pages += [{folder.name: f"experiments/{folder.name}/README.md"}, *notes]
    return pages


def _config_files() -> list[Any]:
    return [{path: f"{CONFIG_PAGES}/{path}.md"} for path in _config_paths()]


def _config_paths() -> list[str]:
    return [
        str(path.relative_to(ROOT / "configs")) for path in sorted(ROOT.glob("configs/**/*.py"))
    ]


def _api() -> list[Any]:
    return ["api/index.md", *({room: f"api/{room}.md"} for room in overview.rooms())]


FOLDERS = {"experiments/": _experiments, f"{CONFIG_PAGES}/": _config_files, "api/": _api}


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the pages and figures from other folders, and the generated pages."""
    outside = [ROOT / name for name in PAGES]
    for pattern in ("*.md", "**/*.md", "**/*.png", "**/*.csv", "**/*.txt"):
        outside += ROOT.glob(f"experiments/{pattern}")
    for path in sorted(set(outside)):
        name = str(path.relative_to(ROOT))
        files.append(File.generated(config, name, abs_src_path=str(path)))
    generated = {"config_keys.md": config_keys.page(), "commands.md": overview.commands()}
    generated["api/index.md"] = overview.api_index()
    for room in overview.rooms():
        generated[f"api/{room}.md"] = overview.api_page(room)
    for path in _config_paths():
        text = (ROOT / "configs" / path).read_text()
        generated[f"{CONFIG_PAGES}/{path}.md"] = f"# {path}\n\n```python\n{text}```\n"
    for name, text in generated.items():
        files.append(File.generated(config, name, content=text, inclusion=InclusionLevel.INCLUDED))
    return files


def on_page_markdown(text: str, *, page: Any, files: Files, **_: Any) -> str:
    """Fills in the generated parts, and turns links to files of the repository into site links."""
    source = page.file.src_uri
    if "<!-- rooms -->" in text:
        text = text.replace("<!-- rooms -->", overview.room_tables())
    here = source if (ROOT / source).is_file() else f"docs/{source}"

    def replaced(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        if found := overview.module(path):
            return f"[{label}][{found}]"
        to = _place(path)
        if files.get_file_from_path(to) is None:
            return label if (ROOT / path).exists() else match[0]  # code that is not on the site
        return f"[{label}]({posixpath.relpath(to, posixpath.dirname(source) or '.')}{anchor})"

    return LINK.sub(replaced, text)


def _place(path: str) -> str:
    """Where a file of the repository is on the site."""
    if path.startswith("configs/") and path.endswith(".py"):
        return f"{CONFIG_PAGES}/{path.removeprefix('configs/')}.md"
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/")
