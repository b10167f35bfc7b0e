"""All claims as one self-contained HTML page."""

import base64
import html
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lenet_alexnet import plots
from lenet_alexnet.pages import document, table
from lenet_alexnet.reproduce import figure, listing
from lenet_alexnet.reproduce.claims import Claim, Scale
from lenet_alexnet.reproduce.measured import recorded
from lenet_alexnet.reproduce.status import STATUSES, counted, effort, statuses
from lenet_alexnet.reproduce.verdict import ROWS, WORDS, stated

MARKS = """
.mark { font-size: 0.8rem; padding: 0.1rem 0.5rem; border-radius: 0.6rem; background: #eee;
  white-space: nowrap; margin-right: 0.3rem }
.reproduced { background: #cdeccd } .better { background: #cfe3f7 }
.not-reproduced { background: #f6cfcf } .not-significant { background: #f7eccb }
.note { color: #555 } section { border-top: 1px solid #ddd }
"""


def as_html(claims: Sequence[Claim], made: str) -> str:
    """The page: the counts by status, then every claim with its numbers, rule and figure.

    Args:
      claims: in the order of the page.
      made: a line with the version and the date.
    """
    counts = counted(claims)
    rows = [["", "numbers and differences", "meaning"]]
    rows += [[word, str(counts[word]), STATUSES[word]] for word in STATUSES if counts[word]]
    links = " ".join(f'<a href="#{c.name}">{html.escape(c.name)}</a>' for c in claims)
    words = table([["verdict", "meaning"], *([word, text] for word, text in WORDS.items())])
    title = "LeNet-5 (1998) and AlexNet (2012): every number beside ours"
    body = (
        f"<p>{html.escape(made)}</p>\n{table(rows)}\n"
        f"<p>Unless stated otherwise, {html.escape(ROWS)}.</p>\n"
        f"<details><summary>what the verdicts mean</summary>{words}</details>\n"
        f"<nav><p>{links}</p></nav>\n" + "\n".join(_claim(claim) for claim in claims)
    )
    return document(title, body, MARKS)


def _claim(claim: Claim) -> str:
    marks = "".join(
        f'<span class="mark {word.replace(" ", "-")}">{count} {word}</span>'
        for word, count in statuses(claim).items()
    )
    parts = [
        f'<section id="{claim.name}"><h2>{html.escape(claim.title)}</h2>',
        f'<p class="note">{html.escape(claim.source)}; <code>{claim.name}</code></p>',
        f"<p>{marks}</p>",
        *_scale(claim, claim.full),
    ]
    if claim.small is not None:
        parts.append("<details><summary>--scale=small, which is another claim</summary>")
        parts += [*_scale(claim, claim.small), "</details>"]
    return "\n".join([*parts, "</section>"])


def _scale(claim: Claim, scale: Scale) -> list[str]:
    rows, verdicts = recorded(scale)
    head = ["", "paper ± margin", "ours, mean ± std (n)", "95 % interval", "verdict"]
    parts = [table([head, *(listing.cells(m, scale) for m in rows)])]
    parts += [f"<p>{html.escape(f'{v.word}: {v.sentence}')}</p>" for v in verdicts]
    took = effort(scale)
    if any(m.values for m in rows):
        parts += _figure(claim, scale)
        notes = [f"The rule: {stated(scale)}."]
        notes += [f"Took {took}; experiments/{scale.experiment}."] if took else []
    else:
        notes = [scale.note or f"Not run: {scale.why or f'needs {scale.needs}'}."]
    return [*parts, f'<p class="note">{html.escape(" ".join(notes))}</p>']


def _figure(claim: Claim, scale: Scale) -> list[str]:
    """The figure, embedded in the page; a note without matplotlib."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        try:
            figure.draw(claim, scale, recorded(scale)[0], path)
        except ModuleNotFoundError:
            return [f"<p>{html.escape(plots.MISSING)}</p>"]
        data = base64.b64encode(path.read_bytes()).decode()
    return [
        f'<figure><img alt="{html.escape(claim.title)}" src="data:image/png;base64,{data}">'
        "</figure>"
    ]
