"""The training of 1998: batch size 1, as one compiled loop over a pass, or over a slice of one.

Everything here is a pure function of its arguments, so `jax.vmap` runs seeds and settings side by
side: parameters, curvature, eta, mu, order, key, and what the loss closes over, may differ by lane.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, UInt8

from lenet_alexnet.models.lenet_1998 import Network1998, normalise
from lenet_alexnet.optimizers.sdlm import step_sizes

Loss = Callable[[Float[Array, "B 10"], Int[Array, " B"]], Float[Array, " B"]]
Augment = Callable[[PRNGKeyArray, Float[Array, "H W 1"]], Float[Array, "H W 1"]]
Number = float | Float[Array, ""]


class Sums(NamedTuple):
    """Over some patterns: the sum of their losses and the number of wrong answers."""

    loss: Float[Array, ""]
    errors: Int[Array, ""]


def run(
    model: Network1998,
    loss: Loss,
    params: PyTree,
    curvature: PyTree,
    eta: Number,
    mu: Number,
    images: UInt8[Array, "N H W 1"],
    labels: Int[Array, " N"],
    order: Int[Array, " K"],
    count: Int[Array, ""] | int,
    *,
    augment: Augment | None = None,
    key: PRNGKeyArray | None = None,
) -> tuple[PyTree, Sums]:
    """`count` <= K updates w <- w - eta / (mu + h) * dE/dw, on the patterns order[0], order[1], ...

    Returns the parameters, and the sums measured on the fly: each pattern before its own update.
    With `augment`, index i >= N is a fixed distortion of pattern i % N (see `virtual_pattern`).
    """
    sizes = step_sizes(curvature, eta, mu)

    def loss_and_answer(params: PyTree, x: Array, label: Array) -> tuple[Array, Array]:
        y = _apply(model, params, x)
        return loss(y, label)[0], jnp.argmin(y[0])

    def step(i: Array, carry: tuple[PyTree, Sums]) -> tuple[PyTree, Sums]:
        params, sums = carry
        image, label = virtual_pattern(images, labels, order[i], augment, key)
        x = normalise(image[None], model.input_size)
        value_and_grad = jax.value_and_grad(loss_and_answer, has_aux=True)
        (value, answer), g = value_and_grad(params, x, label[None])
        params = jax.tree.map(lambda w, size, g: w - size * g, params, sizes, g)
        return params, Sums(sums.loss + value, sums.errors + (answer != label))

    start = Sums(jnp.zeros([], jnp.float32), jnp.zeros([], jnp.int32))
    return jax.lax.fori_loop(0, count, step, (params, start))


def virtual_pattern(
    images: UInt8[Array, "N H W 1"],
    labels: Int[Array, " N"],
    index: Int[Array, ""],
    augment: Augment | None,
    key: PRNGKeyArray | None,
) -> tuple[UInt8[Array, "H W 1"] | Float[Array, "H W 1"], Int[Array, ""]]:
    """Pattern `index` of a training set enlarged by distortions: variant i // N of image i % N.

    Variant 0 is the original. The others are drawn from fold_in(key, i), so that a virtual pattern
    is the same whenever it comes up again; they are floats 0..1.
    """
    if augment is None:
        return images[index], labels[index]
    assert key is not None, "distortions need a key"
    original = images[index % len(images)].astype(jnp.float32) / 255.0
    distorted = augment(jax.random.fold_in(key, index), original)
    image = jnp.where(index < len(images), original, distorted)
    return image, labels[index % len(images)]


def make_pass(
    model: Network1998, loss: Loss, *, augment: Augment | None = None, lanes: bool = False
) -> Callable[..., tuple[PyTree, Sums]]:
    """Compiles `run(params, curvature, eta, mu, images, labels, order, count[, key])`.

    The given params are consumed (donated). One compilation serves every count and eta. With
    `lanes`, params, curvature, eta, mu, order (and key) have a leading axis of lanes.
    """

    def one(params, curvature, eta, mu, images, labels, order, count, key=None):
        return run(
            model,
            loss,
            params,
            curvature,
            eta,
            mu,
            images,
            labels,
            order,
            count,
            augment=augment,
            key=key,
        )

    axes = (0, 0, 0, 0, None, None, 0, None) + (() if augment is None else (0,))
    return jax.jit(jax.vmap(one, in_axes=axes) if lanes else one, donate_argnums=0)


def _apply(model: Network1998, params: PyTree, x: Float[Array, "B H W 1"]) -> Float[Array, "B 10"]:
    return cast(Array, model.apply({"params": params}, x))


# ---------------------------------------------------------------- evaluation


def all_penalties(
    model: Network1998, params: PyTree, images: UInt8[Array, "N H W 1"], batch: int = 500
) -> Float[Array, "N 10"]:
    """Penalties y of every image, computed `batch` at a time; the answers are argmin y."""
    missing = -len(images) % batch
    padded = jnp.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))

    def some(chunk: UInt8[Array, "B H W 1"]) -> Float[Array, "B 10"]:
        return _apply(model, params, normalise(chunk, model.input_size))

    y = jax.lax.map(some, padded.reshape(-1, batch, *images.shape[1:]))
    return y.reshape(-1, y.shape[-1])[: len(images)]


def evaluate(
    model: Network1998,
    loss: Loss,
    params: PyTree,
    images: UInt8[Array, "N H W 1"],
    labels: Int[Array, " N"],
    batch: int = 500,
) -> Sums:
    """Sum of the losses and number of errors over all images, each counted once."""
    y = all_penalties(model, params, images, batch)
    return Sums(jnp.sum(loss(y, labels)), jnp.sum(jnp.argmin(y, axis=1) != labels))
