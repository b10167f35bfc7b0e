"""The 1998 training itself: one pattern at a time, as one compiled loop over a slice of a pass.

Everything is a pure function of its arguments, so `jax.vmap` runs seeds and settings side by side
(parameters, steps, order, and what the loss closes over, may differ by lane).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, UInt8

from lenet_alexnet.models.lenet_1998 import Network1998, normalise

Loss = Callable[[Float[Array, "B 10"], Int[Array, " B"]], Float[Array, " B"]]
Augment = Callable[[PRNGKeyArray, Float[Array, "H W 1"]], Float[Array, "H W 1"]]


class Sums(NamedTuple):
    """Over the patterns seen so far: the sum of the losses, the number of wrong answers."""

    loss: Float[Array, ""]
    errors: Int[Array, ""]


def run_slice(
    model: Network1998,
    loss: Loss,
    params: PyTree,
    sizes: PyTree,
    images: UInt8[Array, "N H W 1"],
    labels: Int[Array, " N"],
    order: Int[Array, " K"],
    count: Int[Array, ""] | int,
) -> tuple[PyTree, Sums]:
    def loss_of(params, x, label):
        y = model.apply({"params": params}, x)
        return loss(y, label)[0], y

    def step(i, carry):
        params, sums = carry
        index = order[i]
        x = normalise(jax.lax.dynamic_slice_in_dim(images, index, 1))
        label = jax.lax.dynamic_slice_in_dim(labels, index, 1)
        (value, y), g = jax.value_and_grad(loss_of, has_aux=True)(params, x, label)
        params = jax.tree.map(lambda w, e, d: w - e * d, params, sizes, g)
        wrong = jnp.argmin(y, axis=1)[0] != label[0]
        return params, Sums(sums.loss + value, sums.errors + wrong)

    start = Sums(jnp.zeros(()), jnp.zeros((), jnp.int32))
    return jax.lax.fori_loop(0, count, step, (params, start))
