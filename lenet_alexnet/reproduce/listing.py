"""The list of all claims, as text and as JSON."""

import math
import statistics
import textwrap
from collections.abc import Collection, Sequence
from typing import Any

from lenet_alexnet.reproduce.claims import Claim, Scale, Verdict
from lenet_alexnet.reproduce.measured import Measured, recorded
from lenet_alexnet.reproduce.status import STATUSES, counted, effort, statuses
from lenet_alexnet.reproduce.verdict import ROWS, WORDS, margins, median, stated
from lenet_alexnet.sweep.results import interval

WIDTH = 110


def describe(claim: Claim) -> dict[str, Any]:
    """A claim with its results, for --json."""
    found: dict[str, Any] = {
        "name": claim.name,
        "source": claim.source,
        "title": claim.title,
        "statuses": statuses(claim),
    }
    for name, scale in (("full", claim.full), ("small", claim.small)):
        if scale is None:
            continue
        rows, verdicts = recorded(scale)
        found[name] = {
            "needs": scale.needs,
            "why_not_run": scale.why,
            "experiment": scale.experiment,
            "took": effort(scale),
            "rule": stated(scale),
            "unit": scale.unit,
            "verdicts": [verdict._asdict() for verdict in verdicts],
            "rows": [_row(m, scale) for m in rows],
        }
    return found


def _row(measured: Measured, scale: Scale) -> dict[str, Any]:
    row, values, word = measured
    return {
        "row": row.text or row.label,
        "paper": row.paper,
        "verdict": word,
        # JSON has no infinity: null is a run that did not reach the goal.
        "ours": [value if math.isfinite(value) else None for value in values],
        "interval": interval(values),
        "margin": (row.margin or scale.margin).size,
    }


def as_table(claims: list[Claim]) -> str:
    """The counts by status, then the claims with the papers' numbers, ours and the verdicts."""
    head = f"{'paper ± margin':>16}{'ours, mean ± std (n)':>26}{'95 % interval':>18}   verdict"
    lines = [*heading(claims), "", f"{'':36}{head}"]
    for claim in claims:
        lines += ["", *_wrap(f"{claim.name}  {claim.source}: {claim.title}")]
        lines += _scale(claim.full)
        if claim.small is not None:
            lines += ["  --scale=small, which is another claim:", *_scale(claim.small)]
    lines += ["", *_wrap(f"Unless stated otherwise, {ROWS}."), *legend(WORDS)]
    lines += _wrap("`lenet-alexnet reproduce NAME` runs one.")
    return "\n".join(lines)


def heading(claims: Sequence[Claim]) -> list[str]:
    """The count of numbers and differences with each status, and its meaning."""
    counts = counted(claims)
    lines = [f"{counts.total()} numbers and differences of {len(claims)} claims:"]
    lines += [
        f"  {counts[word]:>3} {word:<17}{STATUSES[word]}" for word in STATUSES if counts[word]
    ]
    return lines


def _scale(scale: Scale) -> list[str]:
    rows, verdicts = recorded(scale)
    lines = [line(m, scale) for m in rows]
    for verdict in verdicts:
        lines += result(verdict)
    if scale.note:
        lines += _wrap(scale.note, "    ")
    elif any(m.values for m in rows):
        own = scale.comparisons or scale.compute
        text = f"the rule: {stated(scale)}" if own else margins(scale)
        lines += _wrap(text, "    ")
        if took := effort(scale):
            lines += _wrap(f"took {took}; experiments/{scale.experiment}", "    ")
    else:
        reason = f"not run: {scale.why}" if scale.why else f"not run yet; needs {scale.needs}"
        lines += _wrap(reason, "    ")
    return lines


def result(verdict: Verdict) -> list[str]:
    """The verdict on one comparison."""
    return _wrap(f"{verdict.word}: {verdict.sentence}", "    ")


def legend(words: Collection[str]) -> list[str]:
    """The meanings of some verdict words, one per line."""
    return [f"  {word:<17}{text}" for word, text in WORDS.items() if word in words]


def line(measured: Measured, scale: Scale) -> str:
    """A row: the paper's number, ours, the verdict."""
    name, paper, ours, between, word = cells(measured, scale)
    return f"    {name:<32}{paper:>16}{ours:>26}{between:>18}   {word}".rstrip()


def cells(measured: Measured, scale: Scale) -> tuple[str, str, str, str, str]:
    """A row's name, the paper's number with its margin, ours, the interval, the verdict."""
    row, values = measured.row, measured.values
    margin = (row.margin or scale.margin).size
    about = f" ± {margin:.2g}" if margin else ""
    paper = "" if row.paper is None else f"{row.paper:,.10g}{about} {scale.unit}".strip()
    ours, found = "", interval(values)
    if values and not all(map(math.isfinite, values)):
        ours = median(values)
    elif values:
        deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
        ours = f"{statistics.fmean(values):.4g}{deviation} ({len(values)})"
    between = f"[{found[0]:.4g}, {found[1]:.4g}]" if found else ""
    return row.text or row.label, paper, ours, between, measured.verdict


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
        break_long_words=False,
    )
