"""Verdicts on numbers: rules that are fixed before any run, and their words.

Each row of a paper is judged separately, by a 95 % t interval and a margin of equivalence
(Schuirmann 1987, the interval form). Sets are compared by Welch's t test (1947), or by a rank test
if some runs never reached the line; a claim's comparisons share Holm's correction (1979).
"""

import math
import statistics
from collections.abc import Sequence

from lenet_alexnet.reproduce.claims import Comparison, Row, Scale, Values, Verdict
from lenet_alexnet.sweep.results import interval

LEVEL = 0.05
REPRODUCED, BETTER, NOT = "reproduced", "better", "not reproduced"
CLOSER, LESS = "fits closer", "fits less"
LOWER, HIGHER, UNDECIDED = "lower", "higher", "not significant"
WIDE, FEW, CERTAIN = "too wide", "too few seeds", "no interval"
WORDS = {
    REPRODUCED: "the whole interval is within the margin of the paper's number",
    BETTER: "the whole interval is below that margin",
    NOT: "the whole interval is above it, or, for a ratio, on either side",
    CLOSER: "as better, for a training error",
    LESS: "as not reproduced, for a training error",
    WIDE: "the interval crosses an edge of the margin",
    LOWER: "the first set is significantly below the second: in our runs, not in the paper's",
    HIGHER: "the first set is significantly above the second, likewise",
    UNDECIDED: "the test finds no significant difference of the two sets",
    FEW: "fewer than 5 runs (3 where one takes over an hour): no verdict",
    CERTAIN: "it is not random, so there is one value",
}


ROWS = (
    "a row is reproduced if the whole 95 % t interval of our mean over at least 5 seeds (3 where a "
    "run takes over an hour) is within the margin of the paper's number; each row is judged "
    "separately"
)


def stated(scale: Scale) -> str:
    """The rule for a claim, in words."""
    if scale.compute:
        return "it is not random: one value beside the paper's, without a verdict"
    rows = f"{ROWS}. {margins(scale)}".strip()
    if not scale.comparisons:
        return rows
    claims = "; ".join(f"{c.what} of {c.first} below that of {c.second}" for c in scale.comparisons)
    ranks = all(c.ranks for c in scale.comparisons)
    test = "the exact rank test (Mann-Whitney)" if ranks else "Welch's t test"
    holm = ", with Holm's correction," if len(scale.comparisons) > 1 else ""
    rule = f"{claims}: by {test}{holm} at p <= {LEVEL}, with at least {scale.least} seeds each"
    return f"{rule}; {rows}" if scale.margins() else rule


def margins(scale: Scale) -> str:
    """The origin of the margins of a claim's rows; "" if a paper gives no number."""
    why = "; ".join(dict.fromkeys(margin.why for margin in scale.margins()))
    return f"The margin: {why}" if why else ""


def row_word(values: Sequence[float], row: Row, scale: Scale) -> str:
    """The word of `WORDS` for one row; "" if there is nothing to compare."""
    if not values or row.paper is None:
        return ""
    if scale.compute:
        return CERTAIN
    if len(values) < scale.least:
        return FEW
    found = interval(values)
    if found is None:
        return WIDE
    margin = (row.margin or scale.margin).size + 1e-9
    below, above = row.paper - margin, row.paper + margin
    if below <= found[0] and found[1] <= above:
        return REPRODUCED
    outside = found[1] < below or found[0] > above
    if row.either and outside:
        return NOT
    if found[1] < below:
        return CLOSER if row.of_training else BETTER
    if found[0] > above:
        return LESS if row.of_training else NOT
    return WIDE


def compare(comparisons: Sequence[Comparison], values: Values, *, least: int = 5) -> list[Verdict]:
    """The word and the figures of each comparison; p has Holm's correction for all of them."""
    pairs = [(values.get(c.first, []), values.get(c.second, [])) for c in comparisons]
    tested = [
        (ranks if c.ranks else welch)(*pair) if min(map(len, pair)) > 1 else None
        for c, pair in zip(comparisons, pairs, strict=True)
    ]
    # A comparison without runs still counts for the correction.
    adjusted = holm([1.0 if test is None else test[0] for test in tested])
    found = []
    for c, (a, b), test, p in zip(comparisons, pairs, tested, adjusted, strict=True):
        sentence = f"{c.what} of {c.first} against {c.second}"
        if test is None:
            found.append(Verdict(FEW, sentence))
            continue
        holms = f" (Holm, {len(comparisons)} comparisons)" if len(comparisons) > 1 else ""
        _, gap, figures = test
        word = UNDECIDED if p > LEVEL else LOWER if gap < 0 else HIGHER
        if min(len(a), len(b)) < least:
            word = FEW
        found.append(Verdict(word, f"{sentence}: {figures}, p = {p:.2g}{holms}"))
    return found


def welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, str]:
    """Welch's t test of equal means, unequal variances: two-sided p, a - b, and a text.

    If neither set varies, p is 1 for equal means, else 0.
    """
    from scipy.special import stdtr, stdtrit

    parts = [statistics.variance(values) / len(values) for values in (a, b)]
    gap, error = statistics.fmean(a) - statistics.fmean(b), math.sqrt(sum(parts))
    if error == 0:
        return float(gap == 0), gap, f"{gap:+.3g} without spread"
    degrees = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True)
    )
    p = 2 * float(stdtr(degrees, -abs(gap) / error))
    half = float(stdtrit(degrees, 1 - LEVEL / 2)) * error
    return p, gap, f"{gap:+.3g}, 95 % interval [{gap - half:.3g}, {gap + half:.3g}]"


def ranks(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, str]:
    """The rank test of Mann and Whitney by all permutations: two-sided p, U minus its expectation
    (below 0: a has the lower ranks), and the medians.

    Infinite values (runs that did not reach the goal) are the largest, and tied. As all runs are
    observed equally long, this is the generalised Wilcoxon test for censored times.
    """
    from scipy import stats

    every = stats.PermutationMethod(n_resamples=10_000, rng=0)  # complete for 5 and 5, or 7 and 7
    # Only the rank of an infinite value counts; the difference of two would be NaN.
    top = 1 + max((x for x in (*a, *b) if math.isfinite(x)), default=0.0)
    x, y = ([min(value, top) for value in values] for values in (a, b))
    found = stats.mannwhitneyu(x, y, alternative="two-sided", method=every)
    gap = float(found.statistic) - len(a) * len(b) / 2
    return float(found.pvalue), gap, " against ".join(median(values) for values in (a, b))


def median(values: Sequence[float]) -> str:
    """The median, and how many did not reach the goal, in words."""
    middle, never = statistics.median(values), sum(map(math.isinf, values))
    found = [f"median {middle:.4g}"] if math.isfinite(middle) else []
    return "; ".join(found + ([f"{never} of {len(values)} never"] if never else []))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p: the smallest times the number of tests, the next times one less, ..."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted, least = [0.0] * len(ps), 0.0
    for i, place in enumerate(order):
        least = max(least, min(1.0, (len(ps) - i) * ps[place]))
        adjusted[place] = least
    return adjusted
