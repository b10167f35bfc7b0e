"""The pure part of evaluation: a network's scores, and the sums over many examples."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from lenet_alexnet.data.preprocess.digits import Preprocess
from lenet_alexnet.losses import Loss
from lenet_alexnet.training.forward import forward
from lenet_alexnet.training.state import Metrics, Seen

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


def make_evaluate(scores: Scores, loss: Loss, batch_size: int) -> Callable[..., Metrics]:
    """Exact evaluation: every example once, at any batch size.

    The result takes (metrics so far, variables, images, labels, count) and adds the first `count`
    images; copies of an example that fill the last batch are masked out.
    """

    def evaluate(
        metrics: Metrics,
        variables: Any,
        images: UInt8[Array, "n h w c"],
        labels: Int[Array, " n"],
        count: Int[Array, ""],
    ) -> Metrics:
        def body(i: Array, metrics: Metrics) -> Metrics:
            index = i * batch_size + jnp.arange(batch_size)
            batch = jnp.minimum(index, count - 1)
            outputs, classes = scores(variables, images[batch]), labels[batch]
            return metrics.add(Seen.of(loss(outputs, classes), outputs, classes, index < count))

        return jax.lax.fori_loop(0, -(-count // batch_size), body, metrics)

    return evaluate
