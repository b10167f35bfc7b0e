"""Losses per example."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lenet_alexnet.errors import UsageError, nearest


@dataclass(frozen=True)
class Loss:
    """A loss per example, and how much each example counts in the mean over a batch.

    Attributes:
      of_examples: (scores [b, k], labels [b]) -> losses [b], each times the weight of its class.
      class_weights: a factor for each class; None: all are equal.
    """

    of_examples: Callable[..., Float[Array, " b"]]
    class_weights: tuple[float, ...] | None = None

    def __call__(
        self, scores: Float[Array, "b k"], labels: Int[Array, " b"], mean_weight: Any = None
    ) -> Float[Array, " b"]:
        """Losses whose mean over a batch is sum(w loss) / sum(w), w the weights of its labels.

        `mean_weight` is the mean of w over the whole batch; None: these examples are the batch.
        """
        losses = self.of_examples(scores, labels)
        if self.class_weights is None:
            return losses
        return losses / (self.mean_weight(labels) if mean_weight is None else mean_weight)

    def mean_weight(self, labels: Int[Array, " b"]) -> Any:
        """The mean of the labels' class weights; 1 where there are none or all are 0."""
        if self.class_weights is None:
            return 1.0
        mean = jnp.asarray(self.class_weights, jnp.float32)[labels].mean()
        return jnp.where(mean > 0, mean, 1.0)


def create_loss(*, name: str, **options: Any) -> Loss:
    """The loss of a config's `train.loss` section: softmax (label_smoothing,
    class_weights), eq8, eq9 (j).

    Its inputs are scores, larger for likelier classes: logits, or minus the penalties y of 1998.

    Raises:
      UsageError: an unknown name or option, with the nearest valid one.
    """
    if name not in LOSSES:
        raise UsageError(f"unknown train.loss.name '{name}': {nearest(name, LOSSES)}")
    known = defaults(name)
    for option in options.keys() - known.keys():
        raise UsageError(f"loss '{name}' has no option '{option}': {nearest(option, known)}")
    weights = options.get("class_weights")
    if isinstance(weights, str):
        raise UsageError(f"train.loss.class_weights '{weights}' is neither 'auto' nor numbers")
    if weights and (min(weights) < 0 or max(weights) == 0):
        raise UsageError(f"train.loss.class_weights {weights}: none may be negative, and not all 0")
    return Loss(functools.partial(LOSSES[name], **options), tuple(weights) if weights else None)


def balanced_weights(labels: Int[np.ndarray, " n"], classes: int) -> tuple[float, ...]:
    """The weight n / (k n_c) of each of k classes, if n_c of the n labels are c.

    Then every class has the same total weight, and the mean weight of the examples is 1 (King and
    Zeng 2001, sec. 4.2, with shares of 1/k in the population). A class without labels has weight 0.
    """
    counts = np.bincount(labels, minlength=classes)
    return tuple(len(labels) / (classes * int(n)) if n else 0.0 for n in counts)


def defaults(name: str) -> dict[str, Any]:
    """The options of a loss with their default values; {} for an unknown name."""
    if name not in LOSSES:
        return {}
    given = inspect.signature(LOSSES[name]).parameters
    return {key: given[key].default for key in given.keys() - {"logits", "scores", "labels"}}


def softmax_cross_entropy(
    logits: Float[Array, "b k"],
    labels: Int[Array, " b"],
    *,
    label_smoothing: float | Float[Array, ""] = 0.0,
    class_weights: Sequence[float] | None = None,
) -> Float[Array, " b"]:
    """-log p(label) in nats; smoothing spreads this share of the target over all classes.

    `class_weights` has a factor for each class (in a config also "auto", see `balanced_weights`);
    `Loss` divides by their mean over the batch, as
    PyTorch's weighted mean does.
    """
    log_probs = jax.nn.log_softmax(logits)
    hit = jnp.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0]
    losses = -(1 - label_smoothing) * hit - label_smoothing * log_probs.mean(-1)
    return losses if class_weights is None else losses * jnp.asarray(class_weights)[labels]


def penalty_eq8(y: Float[Array, "b k"], labels: Int[Array, " b"]) -> Float[Array, " b"]:
    """Penalty of the right class, eq. 8: maximum likelihood, sound because the codes are fixed."""
    return jnp.take_along_axis(y, labels[:, None], axis=1)[:, 0]


def penalty_eq9(
    y: Float[Array, "b k"], labels: Int[Array, " b"], j: float | Float[Array, ""]
) -> Float[Array, " b"]:
    """Eq. 9, maximum a posteriori: y_D + log(e^-j + sum_i e^-y_i) >= 0; pushes wrong classes up.

    j is the penalty of a "rubbish" class (no value in the paper): classes far above it are left.
    """
    rubbish = jnp.broadcast_to(jnp.asarray(j, y.dtype), (len(y), 1))
    competition = jax.nn.logsumexp(-jnp.concatenate([y, rubbish], axis=1), axis=1)
    return penalty_eq8(y, labels) + competition


LOSSES: dict[str, Callable[..., Float[Array, " b"]]] = {
    "softmax": softmax_cross_entropy,
    "eq8": lambda scores, labels: penalty_eq8(-scores, labels),
    "eq9": lambda scores, labels, *, j=10.0: penalty_eq9(-scores, labels, j),
}
