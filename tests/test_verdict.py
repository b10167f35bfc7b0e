"""How often a verdict is wrong, the effect of noise and censored runs, and the words."""

import math

import numpy as np
import pytest
from scipy import stats

from lenet_alexnet.reproduce import listing, records, verdict
from lenet_alexnet.reproduce.catalogue import CLAIMS
from lenet_alexnet.reproduce.cifar10_small import FIG1, RATES, SMALL_OUTPUT_RATES
from lenet_alexnet.reproduce.claims import Comparison, Margin, Row, Scale
from lenet_alexnet.reproduce.fig1 import best_rate
from lenet_alexnet.reproduce.measured import Measured, measure, recorded
from tests.helpers import ROOT

ROW, TRAINING = Row("net", 1.0), Row("net", 1.0, "train_error")
SCALE = Scale((), margin=Margin(0.1, "a guess"))
SCALES = [s for claim in CLAIMS.values() for s in (claim.full, claim.small) if s]
CALLED = {"lower", "higher"}


def word(a, b, ranks=False):
    (found,) = verdict.compare((Comparison("a", "b", ranks=ranks),), {"a": a, "b": b})
    return found.word


# ---------------------------------------------------------------- how often a rule is wrong


@pytest.mark.parametrize(
    ("sizes", "spreads"), [((5, 5), (1, 1)), ((5, 5), (1, 4)), ((5, 10), (3, 1)), ((10, 5), (3, 1))]
)
def test_the_verdict_on_equal_means_is_wrong_as_rarely_as_it_states(rng, sizes, spreads):
    draws = [
        [rng.normal(50, spread, n).tolist() for n, spread in zip(sizes, spreads, strict=True)]
        for _ in range(2000)
    ]
    wrong = np.mean([word(a, b) in CALLED for a, b in draws])
    assert wrong < 0.065  # three standard errors of 2,000 draws at 0.05
    apart = [word(a, (np.add(b, 6 * max(spreads))).tolist()) for a, b in draws[:200]]
    assert apart.count("lower") > 190


def test_the_verdict_on_several_comparisons_is_wrong_as_rarely_together(rng):
    comparisons = tuple(Comparison("whole", f"no {i}") for i in range(4))
    wrong = 0
    for _ in range(2000):
        values = {name: rng.normal(50, 1, 5).tolist() for name in ("whole", *"0123")}
        values = {name if name == "whole" else f"no {name}": v for name, v in values.items()}
        wrong += any(v.word in CALLED for v in verdict.compare(comparisons, values))
    assert wrong / 2000 < 0.065


@pytest.mark.parametrize("late", [0.0, 0.3])
def test_the_verdict_by_ranks_is_wrong_as_rarely(rng, late):
    def draw():
        return [math.inf if rng.random() < late else x for x in rng.normal(20, 3, 5).tolist()]

    assert np.mean([word(draw(), draw(), ranks=True) in CALLED for _ in range(200)]) < 0.096


def test_the_verdict_is_by_welchs_test(rng):
    for sizes in ((5, 5), (5, 9), (12, 6)):
        a, b = rng.normal(1, 1, sizes[0]), rng.normal(2, 3, sizes[1])
        theirs = stats.ttest_ind(a, b, equal_var=False)
        p, gap, text = verdict.welch(a.tolist(), b.tolist())
        assert (p, gap) == (pytest.approx(theirs.pvalue), pytest.approx(a.mean() - b.mean()))
        low, high = theirs.confidence_interval()
        assert f"[{low:.3g}, {high:.3g}]" in text
        ours = verdict.interval(a.tolist())
        middle = stats.t.interval(0.95, len(a) - 1, a.mean(), stats.sem(a))
        assert ours == pytest.approx(middle)


def test_the_verdict_without_any_spread():
    assert word([1.0] * 5, [1.0] * 5) == "not significant"
    assert word([1.0] * 5, [2.0] * 5) == "lower"


def test_holms_verdict_by_hand():
    assert verdict.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert verdict.holm([0.6, 0.5]) == [1.0, 1.0]


def test_a_verdict_counts_the_comparisons_that_have_no_runs_yet():
    a, b = [50.0, 51, 52, 53, 54], [53.0, 54, 55, 56, 57]  # p = 0.017
    alone = (Comparison("a", "b"),)
    more = (*alone, *(Comparison("a", name) for name in "cde"))
    values = {"a": a, "b": b}
    assert verdict.compare(alone, values)[0].word == "lower"
    assert [v.word for v in verdict.compare(more, values)] == [
        "not significant",
        *["too few seeds"] * 3,
    ]


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize(
    ("middle", "spread", "test", "training"),
    [
        (1.0, 0.03, "reproduced", "reproduced"),
        (1.04, 0.03, "reproduced", "reproduced"),
        (1.09, 0.03, "too wide", "too wide"),
        (1.0, 0.2, "too wide", "too wide"),
        (1.2, 0.03, "not reproduced", "fits less"),
        (1.2, 0.2, "too wide", "too wide"),
        (0.8, 0.03, "better", "fits closer"),
        (0.8, 0.2, "too wide", "too wide"),
    ],
)
def test_the_verdict_on_a_row(middle, spread, test, training):
    values = [middle + spread * x for x in (-1.5, -0.5, 0.0, 0.5, 1.5)]
    assert verdict.row_word(values, ROW, SCALE) == test
    assert verdict.row_word(values, TRAINING, SCALE) == training


def test_more_noise_never_makes_a_verdict_reproduced(rng):
    reproduced = 0
    for _ in range(500):
        deviations = rng.normal(size=5)
        deviations -= deviations.mean()
        middle = rng.uniform(0.7, 1.3)
        words = [
            verdict.row_word((middle + noise * deviations).tolist(), ROW, SCALE)
            for noise in (0.001, 0.02, 0.1, 0.5, 2.0)
        ]
        held = [word == "reproduced" for word in words]
        assert held == sorted(held, reverse=True)
        reproduced += held[0]
        assert words[-1] == "too wide"
    assert 100 < reproduced < 250  # of those within 0.1


def test_a_verdict_takes_five_seeds():
    assert verdict.row_word([1.0] * 4, ROW, SCALE) == "too few seeds"
    assert verdict.row_word([1.0] * 5, ROW, SCALE) == "reproduced"
    assert word([1.0, 1.1, 1.0, 1.1], [2.0, 2.1, 2.0, 2.1, 2.0]) == "too few seeds"
    assert word([1.0, 1.1, 1.0, 1.1, 1.0], [2.0, 2.1, 2.0, 2.1, 2.0]) == "lower"
    assert word([1.0], [2.0] * 5) == "too few seeds"
    assert verdict.row_word([1.0] * 5 + [math.inf], ROW, SCALE) == "too wide"


def test_a_verdict_needs_something_to_compare():
    assert verdict.row_word([], ROW, SCALE) == ""
    assert verdict.row_word([1.4] * 5, ROW._replace(paper=None), SCALE) == ""
    own = ROW._replace(margin=Margin(0.5, "its own"))
    assert verdict.row_word([1.4] * 5, own, SCALE) == "reproduced"


def test_the_verdict_on_what_is_not_random_is_that_it_has_no_interval():
    (row,), _ = recorded(CLAIMS["lenet5_fig9_knn"].full)
    assert row.verdict == "no interval"
    assert "without a verdict" in verdict.stated(CLAIMS["lenet5_fig9_knn"].full)


# ---------------------------------------------------------------- runs that never get to the line


def curves(**runs):
    return [
        {"set": name, "seed": str(seed), "split": "train", "epoch": str(epoch), "error": str(error)}
        for name, seeds in runs.items()
        for seed, at in enumerate(seeds)
        for epoch, error in enumerate([0.9] * at + [0.2] * (30 - at), 1)
    ]


def test_the_verdict_counts_runs_that_never_get_to_the_line():
    # The two ReLU runs that get there come first; with them alone ReLU would be ahead.
    found = curves(relu=(1, 1, 30, 30, 30, 30, 30), tanh=(3, 3, 4, 4, 5, 5, 5))
    rows, (verdict_,) = measure(FIG1, [], found)
    relu = next(m for m in rows if m.row.label == "relu")
    assert relu.values.count(math.inf) == 5
    assert verdict_.word == "not significant"
    assert "5 of 7 never" in verdict_.sentence
    assert "5 of 7 never" in listing.line(relu, FIG1)
    found = curves(relu=(30,) * 5, tanh=(3, 3, 4, 4, 30))
    assert measure(FIG1, [], found)[1][0].word == "higher"
    found = curves(relu=(30,) * 5, tanh=(30,) * 5)
    assert measure(FIG1, [], found)[1][0].word == "not significant"


def test_the_verdict_by_ranks_has_the_side_of_the_ranks_where_both_medians_are_never():
    assert word([5.0] * 9 + [math.inf] * 11, [math.inf] * 20, ranks=True) == "lower"


def test_fig1s_verdict_is_on_the_rates_that_its_own_quantity_chooses():
    assert best_rate([(0.1, 9.0, 0.2), (0.2, 8.0, 0.3), (0.3, math.inf, 0.1)]) == 0.2
    assert best_rate([(0.1, math.inf, 0.6), (0.2, math.inf, 0.5)]) == 0.2
    folder = ROOT / "experiments" / "009_fig1_activations"
    for name, chosen in (("", RATES), ("_small_output", SMALL_OUTPUT_RATES)):
        rows = records.read(folder / f"selection{name}.csv")
        for activation, rate in chosen.items():
            tried = [
                (
                    float(row["learning_rate"]),
                    float(row["first_epoch_at_25_percent"] or "inf"),
                    float(row["train_error"]),
                )
                for row in rows
                if row["activation"] == activation
            ]
            assert best_rate(tried) == rate


# ---------------------------------------------------------------- the words, and what is recorded


def test_every_verdict_is_one_of_the_words_that_are_listed():
    listed = listing.as_table(list(CLAIMS.values()))
    for one, meaning in verdict.WORDS.items():
        assert f"{one:<17}{meaning}" in listed
    said = set()
    for scale in SCALES:
        rows, verdicts = recorded(scale)
        said |= {m.verdict for m in rows if m.verdict} | {v.word for v in verdicts}
    assert said <= verdict.WORDS.keys()
    assert "contradict" not in listed


def test_every_verdict_beside_a_paper_has_a_margin_with_its_reason():
    for scale in SCALES:
        if scale.runs and not scale.compute:
            for row in scale.rows:
                margin = row.margin or scale.margin
                assert row.paper is None or (margin.size > 0 and margin.why)


def test_no_verdict_calls_a_training_error_better():
    for scale in SCALES:
        for row in scale.rows:
            low, high = ([x + (row.paper or 0)] * 5 for x in (-50, 50))
            said = {verdict.row_word(values, row, scale) for values in (low, high)}
            if "train" in row.column and row.paper is not None:
                assert said == {"fits closer", "fits less"}
    rows, _ = recorded(CLAIMS["lenet5_fig6"].full)
    said = {m.row.text: m.verdict for m in rows}
    assert said["training, 15,000"] == "fits less"  # 0.16 % for 0.05
    assert said["training, 30,000"] == "fits closer"


def test_a_small_nets_verdict_is_on_its_own_sets():
    for claim in CLAIMS.values():
        if claim.small and claim.small.comparisons:
            assert all(row.paper is None for row in claim.small.rows)
    for scale in SCALES:
        if scale.comparisons:
            assert {v.word for v in recorded(scale)[1]} <= {
                *CALLED,
                "not significant",
                "too few seeds",
            }


def test_the_verdicts_on_the_recorded_small_nets():
    # By two standard errors the first was contradicted, and the first of the others held.
    (depth,) = recorded(CLAIMS["cifar10_depth"].small)[1]
    assert depth.word == "too few seeds"
    assert "+4.6, 95 % interval [-1.36, 10.6], p = 0.086" in depth.sentence
    pooling = recorded(CLAIMS["alexnet_pooling"].small)[1]
    assert [v.word for v in pooling] == ["too few seeds"] * 2
    assert "p = 0.21 (Holm, 2 comparisons)" in pooling[0].sentence


def test_a_verdict_is_valid_json():
    found = listing._row(Measured(ROW, [1.0, math.inf], ""), SCALE)
    assert found["ours"] == [1.0, None]
    assert found["interval"] is None
