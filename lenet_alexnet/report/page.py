"""The page: a single HTML file."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lenet_alexnet.pages import boxed, document, table


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
    numbers = boxed(rows, "table facts")
    body = (
        f"<p>{html.escape(lead)}</p>\n{numbers}\n"
        f"<nav><p>{links}</p></nav>\n"
        + "\n".join(_section(section) for section in sections)
        + f"\n<h2>Config</h2>\n<details><summary>all of it</summary><pre>{html.escape(config)}"
        "</pre></details>"
    )
    return document(title, body)


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
