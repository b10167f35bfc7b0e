"""The list of all claims, for a person and as JSON."""

import statistics
import textwrap
from typing import Any

from lenet_alexnet.reproduce.claims import Claim, Scale, Verdict
from lenet_alexnet.reproduce.measured import Measured, recorded
from lenet_alexnet.reproduce.verdict import ROWS

WIDTH = 110


def describe(claim: Claim) -> dict[str, Any]:
    """A claim with what was measured, for --json."""
    found: dict[str, Any] = {"name": claim.name, "source": claim.source, "title": claim.title}
    for name, scale in (("full", claim.full), ("small", claim.small)):
        if scale is None:
            continue
        rows, verdict = recorded(scale)
        found[name] = {
            "needs": scale.needs, "why_not_run": scale.why, "experiment": scale.experiment,
            "rule": scale.rule_text or ROWS, "unit": scale.unit,
            "verdict": verdict._asdict() if verdict else None,
            "rows": [
                {"row": m.row.text or m.row.label, "paper": m.row.paper, "ours": m.values,
                 "verdict": m.verdict}
                for m in rows
            ],
        }  # fmt: skip
    return found


def as_table(claims: list[Claim]) -> str:
    """All claims with the papers' numbers, ours and the verdicts."""
    lines = [f"{'':36}{'paper':>12}{'ours, mean ± std (n)':>26}   verdict"]
    for claim in claims:
        lines += ["", *_wrap(f"{claim.name}  {claim.source}: {claim.title}")]
        lines += _scale(claim.full)
        if claim.small is not None:
            lines += ["  --scale=small, which is another claim:", *_scale(claim.small)]
    lines += ["", *_wrap(f"By rule, {ROWS}; claims with a rule of their own say so when they run.")]
    lines += _wrap("`lenet-alexnet reproduce NAME` runs one.")
    return "\n".join(lines)


def _scale(scale: Scale) -> list[str]:
    rows, verdict = recorded(scale)
    lines = [line(m, scale) for m in rows]
    if verdict is not None:
        lines += result(verdict)
    elif scale.note:
        lines += _wrap(scale.note, "    ")
    elif not any(m.values for m in rows):
        reason = f"not run: {scale.why}" if scale.why else f"not run yet; needs {scale.needs}"
        lines += _wrap(reason, "    ")
    return lines


def result(verdict: Verdict) -> list[str]:
    """The verdict of a claim's own rule."""
    return _wrap(f"{verdict.word}: {verdict.sentence}", "    ")


def line(measured: Measured, scale: Scale) -> str:
    """A row: the paper's number, ours, the word."""
    row, values = measured.row, measured.values
    paper = "" if row.paper is None else f"{row.paper:,.10g} {scale.unit}".strip()
    ours = ""
    if values:
        deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
        ours = f"{statistics.fmean(values):.4g}{deviation} ({len(values)})"
    text = f"    {row.text or row.label:<32}{paper:>12}{ours:>26}   {measured.verdict}"
    return text.rstrip()


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ",
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
