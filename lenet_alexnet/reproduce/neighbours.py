"""The k nearest neighbours by Euclidean distance (1998, sec. III.C.2): exact, in blocks."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from lenet_alexnet import config as configs
from lenet_alexnet.data import Dataset
from lenet_alexnet.runtime.console import say
from lenet_alexnet.training.builders import load

TRIED = (1, 3, 5, 7, 9)
BLOCK = 250  # queries at once: 120 MB of distances to 60,000 examples


def test_error(data_dir: str) -> dict[str, float]:
    """The test error on MNIST, with the k that is best on the last 10,000 training images."""
    config = configs.base()
    config.data.data_dir = data_dir
    train, test = load(config, config.data.train), load(config, config.data.test)
    kept = len(train) * 5 // 6
    k, errors = choose_k(train, kept)
    say(
        f"k chosen on {len(train) - kept:,} of the {len(train):,} training images, error in %: "
        + ", ".join(f"{k}: {100 * error:.2f}" for k, error in errors.items())
    )
    say(f"k = {k}, on the {len(test):,} test images")
    queries, classes = test.read(range(len(test)))
    answer = classify(*train.read(range(len(train))), queries, (k,))[0]
    return {"k-NN": float((answer != classes).mean())}


def choose_k(train: Dataset, kept: int) -> tuple[int, dict[int, float]]:
    """The best k, and the error of each, on the images after the first `kept`."""
    images, labels = train.read(range(len(train)))
    answers = classify(images[:kept], labels[:kept], images[kept:], TRIED)
    errors = (answers != labels[None, kept:]).mean(1)
    return TRIED[int(errors.argmin())], dict(zip(TRIED, map(float, errors), strict=True))


def classify(
    images: Int[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    queries: Int[np.ndarray, "q h w c"],
    ks: Sequence[int],
) -> Int[np.ndarray, "k q"]:
    """The most frequent class among the k nearest images, for each k and query.

    Of classes with equally many votes, the one with the nearest image wins.
    """
    # Double precision holds these integers and the sums of their products exactly.
    x = images.reshape(len(images), -1).astype(np.float64)
    norms = np.einsum("np,np->n", x, x)
    most, classes = max(ks), int(labels.max()) + 1
    answers = np.zeros((len(ks), len(queries)), np.int64)
    for i in range(0, len(queries), BLOCK):
        block = queries[i : i + BLOCK].reshape(len(queries[i : i + BLOCK]), -1).astype(np.float64)
        distances = norms - 2 * block @ x.T  # without the query's norm
        near = np.argpartition(distances, most - 1, axis=1)[:, :most]
        order = np.argsort(np.take_along_axis(distances, near, 1), axis=1, kind="stable")
        voters = labels[np.take_along_axis(near, order, 1)]
        for row, k in enumerate(ks):
            answers[row, i : i + BLOCK] = vote(voters[:, :k], classes)
    return answers


def vote(voters: Int[np.ndarray, "q k"], classes: int) -> Int[np.ndarray, " q"]:
    """The class with the most votes; voters are ordered from the nearest on."""
    # 1/2, 1/4 ... sum to less than one vote, and each is more than the sum of the rest.
    weights: Float[np.ndarray, " k"] = 1 + 0.5 ** np.arange(1, voters.shape[1] + 1)
    votes = (voters[:, :, None] == np.arange(classes)) * weights[:, None]
    return votes.sum(1).argmax(1)
