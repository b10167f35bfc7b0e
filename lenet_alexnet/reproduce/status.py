"""The status of a claim's numbers, and the time of its runs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from lenet_alexnet.config import shipped
from lenet_alexnet.reproduce import records, verdict
from lenet_alexnet.reproduce.claims import Claim, Scale
from lenet_alexnet.reproduce.measured import recorded
from lenet_alexnet.runtime.console import duration

REPRODUCED, BETTER, NOT, OPEN = "reproduced", "better", "not reproduced", "not significant"
EXACT, NOT_RUN = "exact", "not run"
STATUSES = {
    REPRODUCED: "within the margin of the paper's number, or the stated difference was found",
    BETTER: "below that margin; of a training error: fits closer",
    NOT: "above that margin, fits less, or the difference is opposite",
    OPEN: "undecided by our runs: too few seeds, too wide, or not significant",
    EXACT: "not random: asserted by tests, or one computed value",
    NOT_RUN: "no runs on record",
}
WORDS = {
    verdict.REPRODUCED: REPRODUCED,
    verdict.LOWER: REPRODUCED,
    verdict.BETTER: BETTER,
    verdict.CLOSER: BETTER,
    verdict.NOT: NOT,
    verdict.LESS: NOT,
    verdict.HIGHER: NOT,
    verdict.WIDE: OPEN,
    verdict.FEW: OPEN,
    verdict.UNDECIDED: OPEN,
    verdict.CERTAIN: EXACT,
    "": NOT_RUN,
}


def statuses(claim: Claim) -> Counter[str]:
    """The count of a claim's numbers and differences with each status, at full scale."""
    scale = claim.full
    rows, verdicts = recorded(scale)
    numbers = [m for m in rows if m.row.paper is not None]
    if scale.note:
        return Counter({EXACT: len(rows)})
    found = Counter(WORDS[m.verdict] for m in numbers) + Counter(WORDS[v.word] for v in verdicts)
    if not found:
        found[OPEN if any(m.values for m in rows) else NOT_RUN] = 1
    return found


def counted(claims: Iterable[Claim]) -> Counter[str]:
    """`statuses` of all claims together."""
    return sum((statuses(claim) for claim in claims), Counter())


def effort(scale: Scale) -> str:
    """The time of a claim's recorded runs: "5 runs, 3 h 20 min on 2 CPU cores"; "" for none."""
    if not scale.experiment:
        return ""
    labels = scale.sets.keys() | {row.label for row in scale.rows}
    rows = records.read(shipped.ROOT / "experiments" / scale.experiment / "results.csv")
    return took([row for row in rows if row["set"] in labels])


def took(rows: Sequence[dict[str, Any]]) -> str:
    """The same for rows of results.csv; parallel runs share their time."""
    if not rows:
        return ""
    seconds = sum(float(row["train_seconds"]) / int(row["side_by_side"]) for row in rows)
    cores = "/".join(sorted({row["cpu_count"] for row in rows}))
    device = " and ".join(sorted({row.get("device") or "cpu" for row in rows} - {"cpu"}))
    runs = f"{len(rows)} run{'s' * (len(rows) > 1)}"
    return f"{runs}, {duration(seconds)} on {device or f'{cores} CPU cores'}"
