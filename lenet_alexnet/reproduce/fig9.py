"""LeCun et al. 1998, Figs. 9 to 12: the other classifiers, error on MNIST's test digits."""

from lenet_alexnet.reproduce.claims import Claim, Row, Scale
from lenet_alexnet.reproduce.lecun1998 import BAND


def _not_run(name: str, title: str, why: str, *rows: tuple[str, float]) -> Claim:
    found = tuple(Row(label, error) for label, error in rows)
    return Claim(name, "1998, Fig. 9", title, Scale(found, why=why, band=BAND))


CLAIMS = (
    _not_run(
        "lenet5_fig9_linear", "linear classifiers", "no configs for them",
        ("28x28 linear", 12.0), ("deslanted 20x20 linear", 8.4), ("pairwise linear", 7.6),
    ),
    _not_run(
        "lenet5_fig9_mlp", "fully connected networks", "no configs for them yet",
        ("300", 4.7), ("300, distorted", 3.6), ("1000", 4.5), ("1000, distorted", 3.8),
        ("300-100", 3.05), ("300-100, distorted", 2.5),
        ("500-150", 2.95), ("500-150, distorted", 2.45),
    ),
    _not_run(
        "lenet5_fig9_knn", "nearest neighbours, Euclidean", "not built yet", ("k-NN", 5.0),
    ),
    _not_run(
        "lenet5_fig9_deslanted", "deslanted 20x20 images",
        "deslanting is not built: the paper's own crop is not given in full",
        ("k-NN", 2.4), ("300", 1.6),
    ),
    _not_run(
        "lenet5_fig9_lenet1", "LeNet-1", "configs/lenet1_1998.py was not measured", ("LeNet-1", 1.7)
    ),
    _not_run(
        "lenet5_fig9_lenet4", "LeNet-4 and what was built on it",
        "the paper's 17,000 parameters do not determine its layers",
        ("LeNet-4", 1.1), ("local learning", 1.1), ("k-NN", 1.1), ("boosted, distorted", 0.7),
    ),
    _not_run(
        "lenet5_fig9_kernels", "PCA, radial basis functions, tangent distance, support vectors",
        "no networks: outside of this project",
        ("40 PCA + quadratic", 3.3), ("1000 RBF", 3.6), ("tangent distance", 1.1),
        ("SVM poly 4", 1.1), ("RS-SVM poly 5", 1.0), ("V-SVM poly 9, distorted", 0.8),
    ),
    Claim(
        "lenet5_fig10", "1998, Fig. 10", "images rejected for 0.5 % error among the rest",
        Scale(
            (Row("k-NN, deslanted", 8.1), Row("20x20-300, deslanted", 3.2), Row("LeNet-1", 3.7),
             Row("LeNet-4", 1.8), Row("boosted LeNet-4", 0.5)),
            why="the paper has none for LeNet-5; `lenet-alexnet report` draws it for any run",
        ),
    ),
)  # fmt: skip
