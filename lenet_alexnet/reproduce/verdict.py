"""Whether a number held: rules that are fixed before anything is run."""

import math
import statistics
from collections.abc import Callable, Sequence

from lenet_alexnet.reproduce.claims import Row, Scale, Values, Verdict

REPRODUCED, BETTER, NOT = "reproduced", "better", "not reproduced"
HOLDS, AGAINST, UNDECIDED = "holds", "contradicted", "not told apart"
ROWS = (
    "a row is reproduced if our mean is within the paper's uncertainty and two standard errors of "
    "ours, better if it is lower than that, else not reproduced"
)


def row_verdict(values: Sequence[float], row: Row, scale: Scale) -> str:
    """The word for one row by `ROWS`; "" where there is nothing to compare."""
    if not values or row.paper is None:
        return ""
    band = scale.band if row.band is None else row.band
    gap = statistics.fmean(values) - row.paper
    allowed = band + 2 * standard_error(values)
    return REPRODUCED if abs(gap) <= allowed + 1e-9 else BETTER if gap < 0 else NOT


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; 0 for one value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def lower(first: str, second: str, what: str = "error") -> Callable[[Values], Verdict]:
    """The rule that the first set's mean is below the second's: by two standard errors."""

    def rule(values: Values) -> Verdict:
        if min(len(values.get(first, [])), len(values.get(second, []))) < 2:
            return Verdict("", "fewer than two seeds")
        a, b = values[first], values[second]
        gap = statistics.fmean(b) - statistics.fmean(a)
        error = math.hypot(standard_error(a), standard_error(b))
        word = UNDECIDED if abs(gap) <= 2 * error else HOLDS if gap > 0 else AGAINST
        return Verdict(
            word,
            f"{what} of {first} below that of {second} by {gap:.3g} ± {error:.2g} (std. error)",
        )

    return rule


def both(*rules: Callable[[Values], Verdict]) -> Callable[[Values], Verdict]:
    """Several rules: what they agree on, or the words of each."""

    def rule(values: Values) -> Verdict:
        found = [one(values) for one in rules]
        words = list(dict.fromkeys(v.word for v in found))
        word = words[0] if len(words) == 1 else "mixed: " + ", ".join(v.word or "?" for v in found)
        return Verdict(word, "; ".join(v.sentence for v in found))

    return rule
