"""The pure part of evaluation: a network's scores, and the sums over many examples."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from lenet_alexnet.data.preprocess.digits import Preprocess
from lenet_alexnet.losses import Loss
from lenet_alexnet.training.forward import forward
from lenet_alexnet.training.state import Metrics, Seen, rank

Scores = Callable[[Any, UInt8[Array, "b h w c"]], Float[Array, "b k"]]


def make_scores(
    model: nn.Module,
    preprocess: Preprocess,
    views: Callable[[Array], Array] | None = None,
    forward: Callable[..., Array] = forward,
) -> Scores:
    """(variables, images as bytes) -> the network's outputs, as in testing, computed in float32.

    In bfloat16 classes would tie by rounding, and the order of sums, which depends on the batch
    size, would decide between close classes. So training in bfloat16 is also evaluated in float32.
    `views` makes several inputs [v, b, ...] of each image; the output is then the logarithm of the
    mean of their softmaxes (Krizhevsky et al. 2012, sec. 4.1).
    """
    if "dtype" in type(model).__dataclass_fields__:  # A passed one may have none.
        model = model.clone(dtype=jnp.float32)

    def scores(variables: Any, images: Array) -> Array:
        if views is None:
            return forward(model, variables, preprocess(images, None))
        return log_mean(jax.lax.map(partial(forward, model, variables), views(images)))

    return scores


def mean_scores(each: Sequence[Scores]) -> Scores:
    """The logarithm of the mean of several networks' softmaxes; `variables` is then a list."""

    def scores(variables: Any, images: Array) -> Array:
        return log_mean(jnp.stack([f(v, images) for f, v in zip(each, variables, strict=True)]))

    return scores


def log_mean(logits: Float[Array, "v b k"]) -> Float[Array, "b k"]:
    """The logarithm of the mean of the softmaxes."""
    return jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0) - jnp.log(len(logits))


class Tally(NamedTuple):
    """The sums of an evaluation: over all examples, and over those of each class."""

    metrics: Metrics
    class_errors: Int[Array, " k"]
    class_examples: Int[Array, " k"]

    @classmethod
    def zero(cls, classes: int) -> "Tally":
        """Sums over no examples."""
        none = jnp.zeros(classes, jnp.int32)
        return cls(Metrics.zero(), none, none)

    def add(
        self,
        losses: Float[Array, " b"],
        logits: Float[Array, "b k2"],
        labels: Int[Array, " b"],
        mask: Bool[Array, " b"],
    ) -> "Tally":
        """The sums with a batch added; `mask` is true for the rows that count."""
        # A comparison with all classes: on many devices it needs no exchange but that of the sums.
        of_class = (labels[:, None] == jnp.arange(len(self.class_errors))) & mask[:, None]
        wrong = of_class & (rank(logits, labels) >= 1)[:, None]
        return Tally(
            self.metrics.add(Seen.of(losses, logits, labels, mask)),
            self.class_errors + wrong.sum(0, dtype=jnp.int32),
            self.class_examples + of_class.sum(0, dtype=jnp.int32),
        )


def make_evaluate(scores: Scores, loss: Loss, batch_size: int) -> Callable[..., Tally]:
    """Exact evaluation: every example once, at any batch size.

    The result takes (sums so far, variables, images, labels, count) and adds the first `count`
    images; copies of an example that fill the last batch are masked out.
    """

    def evaluate(
        sums: Tally,
        variables: Any,
        images: UInt8[Array, "n h w c"],
        labels: Int[Array, " n"],
        count: Int[Array, ""],
    ) -> Tally:
        def body(i: Array, sums: Tally) -> Tally:
            index = i * batch_size + jnp.arange(batch_size)
            batch = jnp.minimum(index, count - 1)
            outputs, classes = scores(variables, images[batch]), labels[batch]
            return sums.add(loss(outputs, classes), outputs, classes, index < count)

        return jax.lax.fori_loop(0, -(-count // batch_size), body, sums)

    return evaluate
