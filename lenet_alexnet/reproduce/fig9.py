"""LeCun et al. 1998, Figs. 9 to 12: the other classifiers, error on MNIST's test digits."""

from typing import Any

from lenet_alexnet.reproduce.claims import Claim, Row, Scale, Set
from lenet_alexnet.reproduce.lecun1998 import MARGIN


def _not_run(name: str, title: str, why: str, *rows: tuple[str, float]) -> Claim:
    found = tuple(Row(label, error) for label, error in rows)
    return Claim(name, "1998, Fig. 9", title, Scale(found, why=why, margin=MARGIN))


def _nearest(data_dir: str) -> dict[str, float]:
    from lenet_alexnet.reproduce import neighbours

    return neighbours.test_error(data_dir)


OURS = "008_fig9_classifiers"
# Hidden units, and the paper's errors without and with distortions.
NETWORKS = {
    "300": ((300,), 4.7, 3.6),
    "1000": ((1000,), 4.5, 3.8),
    "300-100": ((300, 100), 3.05, 2.5),
    "500-150": ((500, 150), 2.95, 2.45),
}
DISTORTED: dict[str, Any] = {  # LeNet-5's first ranges; it is squeezed less now
    "data.variants": 10,
    "data.interpolation": "cubic",
    "data.distort.shift": 1.0,
    "data.distort.scale": 0.15,
    "data.distort.squeeze": 0.15,
    "data.distort.shear": 0.2,
}


def _networks(distorted: bool) -> Scale:
    end, changes = (", distorted", DISTORTED) if distorted else ("", {})
    minutes = 18 if distorted else 13
    return Scale(
        tuple(Row(name + end, errors[distorted]) for name, (_, *errors) in NETWORKS.items()),
        {
            name + end: Set("mlp_1998.py", {"model.hidden": hidden, **changes})
            for name, (hidden, *_) in NETWORKS.items()
        },
        OURS,
        f"MNIST; 5 seeds: {minutes} minutes of one core",
        margin=MARGIN,
    )


CLAIMS = (
    Claim(
        "lenet5_fig9_linear",
        "1998, Fig. 9",
        "the linear classifier of 7,850 parameters",
        Scale(
            (Row("linear", 12.0),),
            {"linear": Set("mlp_1998.py", {"model.hidden": ()})},
            OURS,
            "MNIST; 5 seeds: a minute of one core",
            margin=MARGIN,
        ),
    ),
    Claim(
        "lenet5_fig9_mlp",
        "1998, Fig. 9",
        "fully connected networks, by their hidden units",
        _networks(distorted=False),
    ),
    Claim(
        "lenet5_fig9_mlp_distorted",
        "1998, Fig. 9",
        "fully connected networks with distortions",
        _networks(distorted=True),
    ),
    Claim(
        "lenet5_fig9_knn",
        "1998, Fig. 9",
        "nearest neighbours, Euclidean",
        Scale(
            (Row("k-NN", 5.0),),
            experiment=OURS,
            needs="MNIST; 2 minutes of one core",
            seeds=1,
            margin=MARGIN,
            compute=_nearest,
        ),
    ),
    _not_run(
        "lenet5_fig9_deslanted",
        "deslanted 20x20 images",
        "deslanting is not implemented: the paper does not specify its crop fully",
        ("linear", 8.4),
        ("k-NN", 2.4),
        ("300", 1.6),
    ),
    Claim(
        "lenet5_fig9_lenet1",
        "1998, Fig. 9",
        "LeNet-1",
        Scale(
            (Row("LeNet-1", 1.7),),
            {"LeNet-1": Set("lenet1_1998.py")},
            OURS,
            "MNIST; 5 seeds: 8 minutes of one core",
            margin=MARGIN,
        ),
    ),
    _not_run(
        "lenet5_fig9_lenet4",
        "LeNet-4 and its extensions",
        "the paper's 17,000 parameters do not determine its layers",
        ("LeNet-4", 1.1),
        ("local learning", 1.1),
        ("k-NN", 1.1),
        ("boosted, distorted", 0.7),
    ),
    _not_run(
        "lenet5_fig9_kernels",
        "pairwise linear, PCA, radial bases, tangent distance, support vectors",
        "not networks: outside this project",
        ("pairwise linear", 7.6),
        ("40 PCA + quadratic", 3.3),
        ("1000 RBF", 3.6),
        ("tangent distance", 1.1),
        ("SVM poly 4", 1.1),
        ("RS-SVM poly 5", 1.0),
        ("V-SVM poly 9, distorted", 0.8),
    ),
    Claim(
        "lenet5_fig10",
        "1998, Fig. 10",
        "images rejected for 0.5 % error among the rest",
        Scale(
            (
                Row("k-NN, deslanted", 8.1),
                Row("20x20-300, deslanted", 3.2),
                Row("LeNet-1", 3.7),
                Row("LeNet-4", 1.8),
                Row("boosted LeNet-4", 0.5),
            ),
            why="the paper has none for LeNet-5; `lenet-alexnet report` draws it for any run",
        ),
    ),
)
