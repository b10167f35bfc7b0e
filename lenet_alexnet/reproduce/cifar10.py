"""The CIFAR-10 networks of cuda-convnet; sec. 3.3 of the paper of 2012 cites two of them."""

from lenet_alexnet.reproduce import cifar10_13_to_11, cifar10_one_change, cifar10_small
from lenet_alexnet.reproduce.claims import Claim, Margin, Row, Scale, Set

NEEDS = "CIFAR-10 (`lenet-alexnet data prepare cifar10`)"
WHOLE_PER_CENT = Margin(1.0, "1 %, ours: the published errors are whole numbers, of one run each")
SECTION_3_3 = Margin(0.7, "0.7 %, ours: also whole numbers; the spread of a run is about 0.2 %")


def _published(net: str, error: float, title: str, needs: str, seeds: int = 5) -> Claim:
    return Claim(
        f"cifar10_{net}",
        f"cuda-convnet 2011, layers-{net}.cfg",
        title,
        Scale(
            (Row(net, error),),
            {net: Set(f"cifar10_{net}.py")},
            experiment="022_cifar10_published",
            needs=f"{NEEDS}; {needs}",
            seeds=seeds,
            least=seeds,
            margin=WHOLE_PER_CENT,
        ),
    )


CLAIMS = (
    _published("80sec", 26.0, "26 % in 80 seconds", "10 minutes of one core a seed"),
    _published("19pct", 19.0, "19 % without crops", "3 hours of one core a seed", seeds=3),
    _published("18pct", 18.0, "18 % without crops", "3 hours of one core a seed", seeds=3),
    Claim(
        "alexnet_cifar10_lrn",
        "2012, sec. 3.3",
        "CIFAR-10, four layers: 13 % without LRN, 11 with",
        Scale(
            (Row("13pct", 13.0, text="without LRN"), Row("11pct", 11.0, text="with LRN")),
            {net: Set(f"cifar10_{net}.py") for net in ("13pct", "11pct")},
            experiment="019_cifar10_13_to_11",
            needs=f"{NEEDS}; 5 and 15 hours of one core a seed",
            seeds=3,
            least=3,
            margin=SECTION_3_3,
        ),
    ),
    Claim(
        "cifar10_13_to_11",
        "2012, sec. 3.3",
        "CIFAR-10: each difference of the 13 % and the 11 % network alone",
        cifar10_13_to_11.FULL,
    ),
    Claim(
        "cifar10_one_change",
        "2012, secs. 3 to 7",
        "CIFAR-10: each of AlexNet's changes alone",
        cifar10_one_change.FULL,
    ),
    Claim(
        "cifar10_depth",
        "2012, sec. 7",
        "more convolutions, the same number of parameters",
        Scale((Row("depth", None),), why="it is a part of `cifar10_one_change`"),
        cifar10_small.DEPTH,
    ),
)
