"""The page of a sweep, report.html: parallel coordinates, charts, tables that sort."""

import html
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenet_alexnet import pages
from lenet_alexnet.plots import is_log
from lenet_alexnet.runtime import storage
from lenet_alexnet.sweep import results, series
from lenet_alexnet.sweep.results import Row
from lenet_alexnet.sweep.series import Line
from lenet_alexnet.sweep.trials import COMPLETED, Sweep

MOST_LINES = 8  # of one chart; so many colours are told apart
STYLE = """
:root { color-scheme: light dark; --text: #1a1a1a; --page: #fff; --soft: #595959; --grid: #ddd;
  --best: #0072b2; --told: #d55e00;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b87a00; --c4: #2a8cc4; --c5: #b8578f;
  --c6: #767676; --c7: #1a1a1a }
@media (prefers-color-scheme: dark) { :root { --text: #ececec; --page: #16181c; --soft: #b0b4ba;
  --grid: #3a3f46; --best: #56b4e9; --told: #ff9d5c; --c0: #56b4e9; --c1: #ff8a4c; --c2: #2cc99b;
  --c3: #e6b34d; --c4: #9fd4f5; --c5: #e59cc8; --c6: #a0a0a0; --c7: #ececec } }
body { color: var(--text); background: var(--page) }
svg { display: block; max-width: 100%; font: 12px system-ui, sans-serif; fill: var(--text) }
.grid { stroke: var(--grid) } .axis { stroke: var(--text) } .dot { fill: var(--soft); opacity: .45 }
.line { fill: none; stroke: var(--c); stroke-width: 2 } .mark { fill: var(--c) }
.band { fill: var(--c); opacity: .15 } .name { font-weight: 600 }
.trial { fill: none; stroke: var(--best); stroke-width: 1.5; pointer-events: stroke }
.told { stroke: var(--told); stroke-width: 4; stroke-opacity: 1 !important }
.tick, .name { paint-order: stroke; stroke: var(--page); stroke-width: 4px }
.c0 { --c: var(--c0) } .c1 { --c: var(--c1); stroke-dasharray: 7 3 } .c2 { --c: var(--c2) }
.c3 { --c: var(--c3); stroke-dasharray: 2 3 } .c4 { --c: var(--c4) } .c6 { --c: var(--c6) }
.c5 { --c: var(--c5); stroke-dasharray: 7 3 } .c7 { --c: var(--c7); stroke-dasharray: 2 3 }
.bar { stroke-dasharray: none; stroke-width: 1 }
.legend { list-style: none; padding: 0; margin: .25rem 0 0; font-size: .85rem }
.legend svg { display: inline; vertical-align: middle } .said { min-height: 3em; margin: 0 }
.soft, .said { color: var(--soft) } th button { font: inherit; font-weight: 600; color: inherit;
  background: none; border: 0; padding: .3rem 0; cursor: pointer; text-align: left }
[aria-sort=ascending] button::after { content: " ▲" }
[aria-sort=descending] button::after { content: " ▼" }
.sorts .table { max-height: 36rem; overflow: auto } .trials td:last-child { min-width: 24rem }
.sorts tr:first-child { position: sticky; top: 0; background: var(--page) }
.sorts th { white-space: nowrap }
"""


def write(sweep: Sweep, rows: Sequence[Row], metric: str) -> Path:
    """Writes report.html into the sweep's folder; it loads nothing from elsewhere."""
    path = sweep.root / "report.html"
    with storage.written_whole(path, encoding="utf-8") as file:
        file.write(as_html(sweep, rows, metric))
    return path


def as_html(sweep: Sweep, rows: Sequence[Row], metric: str) -> str:
    """The page; names and errors are escaped, in HTML as in JSON."""
    done = [row for row in rows if row.status == COMPLETED]
    titles, charts = _charts(sweep, done, metric) if done else ([], [])
    data = {"charts": charts, "parallel": _parallel(done, metric) if done else None}
    counts = ", ".join(f"{n} {state}" for state, n in Counter(row.status for row in rows).items())
    parts = [f"<p>{len(rows)} trials: {counts}. {html.escape(results.ranked_on(rows))}</p>"]
    parts.append(_sorts("Settings", results.cells(rows, metric)))
    if done:
        parts.append('<section><h2>Parallel coordinates</h2><div id="parallel"></div></section>')
    else:
        parts.append('<p class="missing">There are no charts: no trial has completed.</p>')
    for i, (title, note) in enumerate(titles):
        text = f'<h2>{html.escape(title)}</h2>\n<p class="soft">{html.escape(note)}</p>'
        parts.append(f'<section>{text}<div id="chart{i}"></div></section>')
    parts.append(_sorts("Trials", _trial_cells(rows, metric)))
    # In a script, "<" could begin the end of the script.
    content = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    parts.append(f'<script type="application/json" id="data">{content}</script>')
    script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    parts.append(f"<script>\n{script}</script>")
    return pages.document(f"Sweep {sweep.root.resolve().name}", "\n".join(parts), STYLE)


def _sorts(title: str, rows: Sequence[Sequence[str]]) -> str:
    note = '<p class="soft">A click on a heading sorts by it.</p>'
    table = pages.table(rows)
    return f'<section class="sorts {title.lower()}"><h2>{title}</h2>\n{note}\n{table}</section>'


def _charts(
    sweep: Sweep, done: Sequence[Row], metric: str
) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """The titles with their notes, and what is drawn, of each chart."""
    label, (_, scale) = series.label(done, metric), series.scaled(metric)
    log_y = is_log([row.values[metric] for row in done])
    titles, charts = [], []
    for key in series.numbers(done):
        found = series.lines(done, key, metric)
        points = [(row.trial.overrides[key], scale * row.values[metric]) for row in done]
        spec = {"labelX": key, "labelY": label, "logX": is_log([x for x, _ in points])}
        spec |= {"logY": log_y, "points": points, "band": False}
        charts.append(spec | {"lines": _lines(found, scale, "mean")})
        titles.append((f"{label}, by {key}", _note(found, "A dot is a trial.", "bars")))
    found = series.curves(sweep, done, metric)
    every = [mean for line in found[:MOST_LINES] for mean in line.means]
    spec = {"labelX": "epoch", "labelY": label, "logX": False, "band": True, "points": []}
    spec["logY"] = bool(every) and is_log(every)
    charts.append(spec | {"lines": _lines(found, scale, "all")})
    titles.append((f"{label}, in training", _note(found, "", "bands")))
    return titles, charts


def _note(found: Sequence[Line], first: str, spread: str) -> str:
    shown = min(len(found), MOST_LINES)
    which = f"The best {shown} of {len(found)} settings." if len(found) > shown else ""
    several = any(line.seeds > 1 for line in found)
    spreads = f"Lines are means, {spread} ±1 standard deviation over seeds." if several else ""
    return " ".join(text for text in (first, which, spreads) if text)


def _lines(found: Sequence[Line], scale: float, nothing: str) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{series.name(line.others, nothing)} (n={line.seeds})",
            "x": line.places,
            "y": [scale * mean for mean in line.means],
            "sd": [scale * deviation for deviation in line.deviations],
        }
        for line in found[:MOST_LINES]
    ]


def _parallel(done: Sequence[Row], metric: str) -> dict[str, Any]:
    """An axis for each swept entry with several values, and the last one for the metric."""
    _, scale = series.scaled(metric)
    numbers = series.numbers(done)
    axes: dict[str, list[Any]] = {}
    for key in results.swept(done):
        values = [row.trial.overrides.get(key, "") for row in done]
        if key in numbers:
            axes[key] = values
        elif key != "seed" and len(set(map(str, values))) > 1:
            axes[key] = list(map(str, values))
    axes[series.label(done, metric)] = [scale * row.values[metric] for row in done]
    logs = [not isinstance(values[0], str) and is_log(values) for values in axes.values()]
    columns = list(zip(*axes.values(), strict=True))
    trials = [
        {"id": row.trial.id, "values": values, "shown": [_short(value) for value in values]}
        for row, values in zip(done, columns, strict=True)
    ]
    return {"keys": list(axes), "logs": logs, "trials": trials}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _trial_cells(rows: Sequence[Row], metric: str) -> list[list[str]]:
    """A line for each trial, below one of headings."""
    keys, (name, scale) = results.swept(rows), series.scaled(metric)
    head = ["trial", *keys, "status", f"{rows[0].values['selected_on']} {name}", "test error, %"]
    lines = [[*head, "seconds", "error"]]
    for row in rows:
        value, test = row.values[metric], row.values["test_top1_error"]
        lines.append(
            [
                row.trial.id,
                *(str(row.trial.overrides.get(key, "")) for key in keys),
                row.status,
                "" if value == "" else f"{scale * value:.4g}",
                "" if test == "" else f"{100 * test:.4g}",
                str(row.values["seconds"]),
                row.values["error"],
            ]
        )
    return lines
