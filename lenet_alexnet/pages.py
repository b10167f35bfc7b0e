"""What all HTML pages share: the document around the content, the style, tables."""

import html
from collections.abc import Sequence

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


def document(title: str, body: str, style: str = "") -> str:
    """A whole page, which loads nothing from elsewhere.

    Args:
      title: text, also the first headline.
      body: HTML below the headline.
      style: CSS, which is added to that of all pages.
    """
    name = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{STYLE}{style}</style></head>\n<body>\n"
        f"<h1>{name}</h1>\n{body}\n</body></html>\n"
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table, the first as its head, in a box that scrolls."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows[1:]
    )
    return boxed(f"<tr>{head}</tr>{body}", "table")


def boxed(rows: str, kind: str) -> str:
    """A table in a box that scrolls if the table is wider than the page."""
    return f'<div class="{kind}"><table>{rows}</table></div>'
