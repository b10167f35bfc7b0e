"""LeCun, Bottou, Bengio, Haffner 1998: LeNet-5's numbers and curves; `fig9.py` has Fig. 9."""

import math

from lenet_alexnet.reproduce.claims import EXACT, Claim, Comparison, Margin, Row, Scale, Set

LENET5 = "lenet5_1998.py"
# It is the standard error of a count: for 0.95 % of 10,000, 0.097 %.
MARGIN = Margin(0.1, "0.1 %, the paper's own uncertainty of its error rates (p. 12)")
OURS = "002_lenet5_1998"

# Fig. 5, read off the drawing: errors after a pass.
TEST = {1: 2.65, 3: 1.48, 6: 1.09, 10: 0.96}
TRAIN = {1: 4.89, 3: 1.77, 6: 0.91, 10: 0.49}

# Of the first runs: eq. 9 as printed, and other initial values.
FIRST = {
    "optimizer.energy": 1.0,
    "model.init_scale": 1.5,
    "model.coefficient_init": (0.25, 0.25),
    "model.subsampling_bias": 0.75,
}


def _fitted(after: int) -> str:
    # The initial weights were chosen so that the first three passes are like the paper's.
    return ", fitted" if after <= 3 else ""


def training(error: float, patterns: int, after: int = 0, text: str = "") -> Row:
    """A training error of a figure, with a margin like the paper's 0.1 % for test errors."""
    # A count's standard error, and 0.01 for the reading.
    size = math.sqrt(error * (100 - error) / patterns) + 0.01
    why = (
        "of a training error, the standard error of the paper's count (as its 0.1 % is for "
        "10,000 test digits) plus 0.01 % for reading the drawing"
    )
    label = "full" if patterns == 60_000 else str(patterns)
    column = f"train_error@{after}" if after else "train_error"
    return Row(
        label, error, column, text or f"training, pass {after}{_fitted(after)}", Margin(size, why)
    )


SMALL = ("1000", "2000", "4000")
EMBEDDED = {"data.source": "embedded", "data.test": "test"}

CLAIMS = (
    Claim(
        "lenet5_counts",
        "1998, sec. II.B",
        "60,000 trainable parameters, 340,908 connections",
        Scale(
            (Row("parameters", 60_000), Row("connections", 340_908)),
            unit="",
            note=EXACT.format("lenet5_1998"),
        ),
    ),
    Claim(
        "lenet5_fig5",
        "1998, Fig. 5 and sec. III.B",
        "errors of LeNet-5 by pass, 60,000 patterns",
        Scale(
            (
                Row("full", 0.95, text="test, pass 20"),
                training(0.35, 60_000, text="training, pass 20"),
                *(
                    Row("full", e, f"test_error@{n}", f"test, pass {n}{_fitted(n)}")
                    for n, e in TEST.items()
                ),
                *(training(e, 60_000, n) for n, e in TRAIN.items()),
            ),
            {"full": Set(LENET5)},
            OURS,
            "MNIST; 5 seeds: 30 minutes of one core",
            margin=MARGIN,
        ),
    ),
    Claim(
        "lenet5_fig6",
        "1998, Fig. 6",
        "errors by training-set size, and with distortions (p. 11)",
        Scale(
            (
                Row("15000", 1.68, text="test, 15,000 patterns"),
                Row("30000", 1.14, text="test, 30,000 patterns"),
                Row("full", 0.95, text="test, 60,000 patterns"),
                Row("distorted", 0.82, text="test, 540,000 more distorted"),
                training(0.05, 15_000, text="training, 15,000"),
                training(0.31, 30_000, text="training, 30,000"),
            ),
            {
                "15000": Set("lenet5_1998_subset.py"),
                "30000": Set("lenet5_1998_subset.py", {"data.train": "train[:30000]"}),
                "full": Set(LENET5),
                "distorted": Set("lenet5_1998_distorted.py"),
            },
            OURS,
            "MNIST; 5 seeds: two and a quarter hours of one core",
            margin=MARGIN,
        ),
        Scale(
            tuple(Row(label, None, text=f"{label} of the package's digits") for label in SMALL),
            {label: Set(LENET5, EMBEDDED | {"data.train": f"train[:{label}]"}) for label in SMALL},
            needs="nothing; 5 seeds: 5 minutes of one core",
            comparisons=(Comparison("4000", "2000"), Comparison("2000", "1000")),
        ),
    ),
    Claim(
        "lenet5_fig8",
        "1998, Fig. 8",
        "the misclassified test digits: 82",
        Scale(
            (Row("distorted", 82, text="of 10,000, with distortions"),),
            {"distorted": Set("lenet5_1998_distorted.py")},
            OURS,
            "MNIST; the figure of a run: `lenet-alexnet report --workdir=RUN`",
            unit="digits",
            factor=10_000,
            margin=Margin(10, "10 digits, the paper's own uncertainty of 0.1 % (p. 12)"),
        ),
    ),
    Claim(
        "lenet5_initialisation",
        "1998, Appendix A, p. 41",
        "weights uniform within 2.4/F",
        Scale(
            (
                Row("literal", 0.95, text="the text's range, pass 5"),
                Row("full", 0.95, text="ours, 1.7/sqrt(F), pass 20"),
            ),
            {
                # S2/S4 coefficients by the same rule, F = 4.
                "literal": Set(
                    LENET5,
                    {
                        "model.init_scale": 2.4,
                        "model.init_power": 1.0,
                        "optimizer.energy": 1.0,
                        "model.coefficient_init": (-0.6, 0.6),
                        "model.subsampling_bias": 0.6,
                        "train.duration": "5 epochs",
                    },
                ),
                "full": Set(LENET5),
            },
            OURS,
            "MNIST; 5 seeds: an hour of one core",
            margin=MARGIN,
        ),
    ),
    Claim(
        "lenet5_distortion_ranges",
        "1998, p. 10",
        "the ranges of the distortions are not given",
        Scale(
            (
                Row("distorted", 0.82, text="ours, chosen on validation"),
                Row("distorted_guess", 0.82, text="a first guess"),
            ),
            {
                "distorted": Set("lenet5_1998_distorted.py"),
                "distorted_guess": Set(
                    "lenet5_1998_distorted.py",
                    FIRST
                    | {
                        "data.interpolation": "linear",
                        "data.distort.shift": 1.5,
                        "data.distort.scale": 0.1,
                        "data.distort.squeeze": 0.1,
                    },
                ),
            },
            OURS,
            "MNIST; 5 seeds: an hour and a quarter of one core",
            margin=MARGIN,
        ),
    ),
)
