"""Krizhevsky, Sutskever, Hinton 2012: tables, ablations in the text, figures."""

from typing import Any

from lenet_alexnet.reproduce import cifar10_fig1, cifar10_small
from lenet_alexnet.reproduce.claims import EXACT, Claim, Margin, Row, Scale, Set

SOURCE = "alexnet_2012.py"  # layers-145.cfg and its parameters gave the paper's numbers
NEEDS = "ILSVRC-2012 and GPUs: 90 passes over 1.2 million photos a run"
MISSING = "needs ILSVRC-2012 and GPUs, which we did not have"
DRAWN = "`lenet-alexnet report` draws them for any run"
MARGIN = Margin(
    0.3, "0.3 %, ours: the paper reports no seeds; the source's reruns of a net differ by this"
)
TOP1 = "validation_error"


def _ablation(
    name: str,
    source: str,
    title: str,
    row: Row,
    changes: dict[str, Any],
    small: Scale | None = None,
) -> Claim:
    """A net that the text compares: printed as a difference to the whole net's 40.7 %."""
    ten_views = {"eval.views": 10}
    full = Scale(
        (Row("whole", 40.7, TOP1, "whole, 10 views"), row),
        {"whole": Set(SOURCE, ten_views), row.label: Set(SOURCE, ten_views | changes)},
        needs=NEEDS,
        why=MISSING,
        margin=MARGIN,
    )
    return Claim(name, source, title, full, small)


CLAIMS = (
    Claim(
        "alexnet_counts",
        "2012, sec. 3.5",
        "60 million parameters, 650,000 neurons",
        Scale(
            (Row("parameters", 60_965_224, text="parameters (exactly)"),),
            unit="",
            note=EXACT.format("alexnet_imagenet"),
        ),
    ),
    Claim(
        "alexnet_table1",
        "2012, Table 1 and footnote",
        "ILSVRC-2010 test",
        Scale(
            (
                Row("10 views, top-1", 37.5),
                Row("10 views, top-5", 17.0),
                Row("centre, top-1", 39.0),
                Row("centre, top-5", 18.3),
            ),
            why="needs ILSVRC-2010 with its test labels, and GPUs",
            margin=MARGIN,
        ),
    ),
    Claim(
        "alexnet_table2",
        "2012, Table 2",
        "ILSVRC-2012 validation, 10 views, one network",
        Scale(
            (Row("1 CNN", 40.7, TOP1, "top-1"), Row("1 CNN, top-5", 18.2)),
            {"1 CNN": Set(SOURCE, {"eval.views": 10})},
            needs=NEEDS,
            why=MISSING,
            margin=MARGIN,
        ),
    ),
    Claim(
        "alexnet_table2_more",
        "2012, Table 2",
        "several networks, and pretraining on Fall 2011",
        Scale(
            (
                Row("5 CNNs, top-1", 38.1),
                Row("5 CNNs, top-5", 16.4),
                Row("1 CNN*, top-1", 39.0),
                Row("1 CNN*, top-5", 16.6),
                Row("7 CNNs*, top-1", 36.7),
                Row("7 CNNs*, top-5", 15.4),
            ),
            why="the networks are not known, and the Fall 2011 release has 15 million photos; "
            "`lenet-alexnet eval --workdir=A,B,C` averages any networks",
        ),
    ),
    Claim(
        "alexnet_fall2009",
        "2012, sec. 6",
        "10,184 classes of ImageNet's Fall 2009 release",
        Scale((Row("top-1", 67.4), Row("top-5", 40.9)), why="needs the Fall 2009 release"),
    ),
    _ablation(
        "alexnet_lrn",
        "2012, sec. 3.3",
        "normalisation: 1.4 top-1, 1.2 top-5",
        Row("no LRN", 42.03, TOP1),
        {"model.lrn": "none", "model.spatial_norm": False},
        cifar10_small.LRN,
    ),
    _ablation(
        "alexnet_pooling",
        "2012, sec. 3.4",
        "overlapping pooling: 0.4 top-1, 0.3 top-5",
        Row("2/2 pooling", 41.06, TOP1),
        {"model.pool": "2/2"},
        cifar10_small.POOLING,
    ),
    _ablation(
        "alexnet_colour",
        "2012, sec. 4.1",
        "PCA colour noise: over 1 top-1",
        Row("no colour", 41.7, TOP1),
        {"data.photo.colour_noise": 0.0},
    ),
    Claim(
        "alexnet_two_gpus",
        "2012, sec. 3.2",
        "two GPUs, or half the kernels on one: 1.7 top-1",
        Scale(
            (Row("two", 37.5, TOP1, "two towers, 2010 test"), Row("half", 39.2, TOP1, "one GPU")),
            why="printed for ILSVRC-2010; `model.variant=half` is the one-GPU net",
            margin=MARGIN,
        ),
    ),
    Claim(
        "alexnet_depth",
        "2012, sec. 7",
        "any middle convolution removed: about 2 top-1",
        Scale((Row("loss", 2.0),), why=MISSING),
        cifar10_small.REMOVAL,
    ),
    Claim(
        "alexnet_dropout",
        "2012, sec. 4.2",
        "without dropout it overfits substantially",
        Scale((Row("without", None),), why=MISSING),
        cifar10_small.DROPOUT,
    ),
    Claim(
        "alexnet_crops",
        "2012, sec. 4.1",
        "without crops and reflections it overfits",
        Scale((Row("without", None),), why=MISSING),
        cifar10_small.AUGMENTATION,
    ),
    Claim(
        "alexnet_fig1",
        "2012, Fig. 1",
        "ReLU reaches 25 % training error 6 times sooner than tanh",
        cifar10_fig1.FULL,
        cifar10_small.FIG1,
    ),
    Claim(
        "alexnet_fig3",
        "2012, Fig. 3",
        "conv1's kernels: one tower grey, one coloured",
        Scale((Row("kernels", None),), why=f"{MISSING}; {DRAWN}"),
    ),
    Claim(
        "alexnet_fig4",
        "2012, Fig. 4",
        "five best classes, and nearest neighbours in fc7",
        Scale((Row("panels", None),), why=f"{MISSING}; {DRAWN}"),
    ),
)
