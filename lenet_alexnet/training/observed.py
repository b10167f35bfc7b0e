"""What is noted of each layer at the steps of the log: norms and histograms.

It is computed inside the compiled steps, and only if the config asks for it. Training ends in the
same bits with and without it.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from lenet_alexnet.training.state import TrainState

BINS = 30  # of a histogram


@dataclass(frozen=True, kw_only=True)
class Observe:
    """What is noted of a step.

    Attributes:
      every, total: the interval of the log and the length of the run, in steps.
      norms: Euclidean norms of the gradient and of the update of each layer.
      histograms: of each layer's weights, gradient and update.
    """

    every: int
    total: int
    norms: bool
    histograms: bool

    def due(self, step: Int[Array, ""]) -> Bool[Array, ""]:
        """Whether the log has a line after `step` steps."""
        return (step % self.every == 0) | (step == self.total)

    def __call__(self, before: TrainState, after: TrainState, gradients: Any) -> dict[str, Any]:
        """By kind and layer: numbers, or histograms as (lowest, highest, counts).

        An update is the difference of the parameters, so that it can be computed from what the
        step has anyway.
        """
        updates = jax.tree.map(jnp.subtract, after.trained, before.trained)
        kinds = {"weights": after.trained, "gradients": gradients, "updates": updates}
        found: dict[str, Any] = {}
        if self.norms:
            found["gradient_norm"] = _by_layer(_norm, gradients)
            found["update_norm"] = _by_layer(_norm, updates)
        if self.histograms:
            layers = {kind: _by_layer(_histogram, tree) for kind, tree in kinds.items()}
            found["histograms"] = layers
        return found


def entries(observed: Any) -> dict[str, Any]:
    """What `Observe` found, on the host, as entries of a line of the log."""
    found = jax.tree.map(lambda x: x.tolist(), observed or {})
    if "histograms" in found:
        for layers in found["histograms"].values():
            for layer, (low, high, counts) in layers.items():
                layers[layer] = {"low": low, "high": high, "counts": counts}
    return found


def _by_layer(function: Any, tree: Any) -> dict[str, Any]:
    return {layer: function(jax.tree.leaves(leaves)) for layer, leaves in tree.items()}


def _norm(leaves: list[Array]) -> Array:
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in leaves))


def _histogram(leaves: list[Array]) -> tuple[Array, Array, Array]:
    """The lowest and the highest number, and the counts in equal bins between them."""
    low = jnp.stack([leaf.min() for leaf in leaves]).min()
    high = jnp.stack([leaf.max() for leaf in leaves]).max()
    width = jnp.where(high > low, high - low, 1)
    counts = jnp.zeros(BINS, jnp.int32)
    for leaf in leaves:
        place = ((leaf.ravel() - low) / width * BINS).astype(jnp.int32)
        counts = counts.at[jnp.clip(place, 0, BINS - 1)].add(1)
    return low, high, counts
