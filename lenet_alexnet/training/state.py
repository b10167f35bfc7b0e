"""The train state that a step changes: parameters, optimizer state, sums for the log."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from lenet_alexnet.data.preprocess.digits import Preprocess

NEVER = jnp.iinfo(jnp.int32).max


def rank(logits: Float[Array, "b k"], labels: Int[Array, " b"]) -> Int[Array, " b"]:
    """How many other classes score at least as high as the right one.

    From 1 on it is a top-1 error, from 5 on a top-5 error. A tie is a miss: constant outputs have
    no hit, and counts are whole numbers, whose sums are exact on any number of devices. Departure:
    the source of 2012 counts a tie of n classes as 1/n of a hit (layer_kernels.cu). Outputs that
    are not finite are misses at every rank.
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    others = jnp.sum(logits >= own, axis=-1) - 1
    return jnp.where(jnp.isfinite(logits).all(-1), others, NEVER)


class Seen(NamedTuple):
    """Sums over some examples."""

    loss: Float[Array, ""]
    errors: Int[Array, ""]
    top5_errors: Int[Array, ""]
    examples: Int[Array, ""]

    @classmethod
    def of(
        cls,
        losses: Float[Array, " b"],
        logits: Float[Array, "b k"],
        labels: Int[Array, " b"],
        mask: Bool[Array, " b"] | None = None,
    ) -> "Seen":
        """The sums over a batch; `mask` is true for the rows that count (default: all)."""
        mask = jnp.ones(len(losses), bool) if mask is None else mask
        ranks = rank(logits, labels)
        return cls(
            loss=jnp.sum(losses, where=mask),
            errors=jnp.sum((ranks >= 1) & mask, dtype=jnp.int32),
            top5_errors=jnp.sum((ranks >= 5) & mask, dtype=jnp.int32),
            examples=jnp.sum(mask, dtype=jnp.int32),
        )


class Metrics(flax.struct.PyTreeNode):
    """Sums over the examples since the last line of the log."""

    loss: Float[Array, ""]
    errors: Int[Array, ""]
    top5_errors: Int[Array, ""]
    examples: Int[Array, ""]
    first_bad_step: Int[
        Array, ""
    ]  # The first step whose loss or parameters were not finite, or NEVER.

    @classmethod
    def zero(cls) -> "Metrics":
        """Sums over no examples."""
        count = jnp.zeros((), jnp.int32)
        return cls(jnp.zeros(()), count, count, count, jnp.full((), NEVER, jnp.int32))

    def add(self, seen: Seen) -> "Metrics":
        """The sums with more examples added."""
        return self.replace(
            loss=self.loss + seen.loss,
            errors=self.errors + seen.errors,
            top5_errors=self.top5_errors + seen.top5_errors,
            examples=self.examples + seen.examples,
        )

    def check(self, finite: Array, step: Array) -> "Metrics":
        """Records `step` as the first bad one if `finite` is false and none was before."""
        bad = jnp.where(finite, NEVER, step)
        return self.replace(first_bad_step=jnp.minimum(self.first_bad_step, bad))


class Noted(Metrics):
    """The sums as a dispatch returns them.

    `layers` has what was noted of each layer (`observed.py`), None if nothing was asked for.
    """

    layers: Any = None


def without(tree: Any, layers: Sequence[str]) -> Any:
    """A tree whose first level are layers, without some of these."""
    return {name: leaves for name, leaves in tree.items() if name not in layers}


class TrainState(flax.struct.PyTreeNode):
    """Everything that a step reads and changes; `step` counts the completed ones.

    The layers `frozen` keep their parameters: no gradient is taken with respect to them, and the
    optimizer's state does not have them.
    """

    step: Int[Array, ""]
    params: Any
    batch_stats: Any  # of batch normalisation; {} without it
    average: Any  # the parameters' exponential moving average, or None
    opt_state: optax.OptState
    metrics: Metrics
    frozen: tuple[str, ...] = flax.struct.field(pytree_node=False, default=())

    @property
    def trained(self) -> Any:
        """The parameters without those of frozen layers."""
        return without(self.params, self.frozen)

    @property
    def kept(self) -> Any:
        """The parameters of frozen layers."""
        return without(self.params, self.trained)

    @property
    def variables(self) -> dict[str, Any]:
        """What is evaluated: the average (if any) or the parameters, and batch statistics."""
        params = self.params if self.average is None else self.average
        return {"params": params} | ({"batch_stats": self.batch_stats} if self.batch_stats else {})

    @property
    def rest(self) -> "TrainState":
        """The state without its `variables`: a checkpoint stores these two parts."""
        cut = {"params": None} if self.average is None else {"average": None}
        return self.replace(batch_stats=None, **cut)

    def with_variables(self, variables: dict[str, Any]) -> "TrainState":
        """The whole state again, from a `rest`."""
        name = "params" if self.params is None else "average"
        batch_stats = variables.get("batch_stats", {})
        return self.replace(batch_stats=batch_stats, **{name: variables["params"]})


def init_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    preprocess: Preprocess,
    key: Key[Array, ""],
    images: UInt8[Array, "1 h w c"],
    *,
    average: bool = False,
    frozen: Sequence[str] = (),
) -> TrainState:
    """A fresh state; `average`: with a moving average of the parameters.

    Of `images` only the shape matters. For `frozen` see `TrainState`.
    """
    variables = model.init(key, preprocess(images, None))
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        average=jax.tree.map(jnp.copy, params) if average else None,
        opt_state=tx.init(without(params, frozen)),
        metrics=Metrics.zero(),
        frozen=tuple(frozen),
    )
