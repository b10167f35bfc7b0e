"""The page: a single HTML file."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

STYLE = """
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff; overflow-wrap: anywhere }
h1 { line-height: 1.2; margin-bottom: 0.2rem } h2 { margin-top: 2.5rem }
img { max-width: 100%; height: auto } figure { margin: 0 } nav a { margin-right: 1rem }
.table { overflow-x: auto; overflow-wrap: normal } .facts td { overflow-wrap: anywhere }
table { border-collapse: collapse } td, th { padding: 0.15rem 0.9rem 0.15rem 0; text-align: left;
  font-variant-numeric: tabular-nums; vertical-align: top }
.missing { color: #555; font-style: italic } pre { overflow-x: auto; background: #f4f4f4;
  padding: 0.8rem; overflow-wrap: normal }
"""


class Section(NamedTuple):
    """A part of the page: `key` is its anchor, `text` its paragraphs."""

    key: str
    title: str
    text: Sequence[str]
    figure: Path | None = None
    table: Sequence[Sequence[str]] = ()  # the first row is the head


def as_html(
    title: str,
    lead: str,
    facts: Sequence[tuple[str, str]],
    sections: Sequence[Section],
    config: str,
) -> str:
    """The whole page; text is escaped, and nothing is loaded from elsewhere."""
    links = " ".join(f'<a href="#{s.key}">{html.escape(s.title)}</a>' for s in sections)
    rows = "".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in facts)
    numbers = _boxed(rows, "table facts")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(lead)}</p>\n{numbers}\n"
        f"<nav><p>{links}</p></nav>\n"
        + "\n".join(_section(section) for section in sections)
        + f"\n<h2>Config</h2>\n<details><summary>all of it</summary><pre>{html.escape(config)}"
        "</pre></details>\n</body></html>\n"
    )


def _section(section: Section) -> str:
    parts = [f'<section id="{section.key}"><h2>{html.escape(section.title)}</h2>']
    if section.figure is None and not section.table:
        return parts[0] + f'<p class="missing">{html.escape(" ".join(section.text))}</p></section>'
    parts += [f"<p>{html.escape(text)}</p>" for text in section.text]
    if section.figure is not None:
        data = base64.b64encode(section.figure.read_bytes()).decode()
        name = html.escape(section.title, quote=True)
        image = f'<img alt="{name}" src="data:image/png;base64,{data}">'
        parts.append(f"<figure>{image}</figure>")
    if section.table:
        parts.append(table(section.table))
    return "\n".join([*parts, "</section>"])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table, the first as its head, in a box that scrolls."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows[1:]
    )
    return _boxed(f"<tr>{head}</tr>{body}", "table")


def _boxed(rows: str, kind: str) -> str:
    """A table in a box that scrolls if the table is wider than the page."""
    return f'<div class="{kind}"><table>{rows}</table></div>'
