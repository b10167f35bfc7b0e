"""The product of a dense layer."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.ops.conv import ConvForm
from lenet_alexnet.ops.cpu.differentiation import mark


def dense(
    x: Float[Array, "b n"], kernel: Float[Array, "t n m"], form: ConvForm = "plain"
) -> Float[Array, "t b m"]:
    """X @ kernel for each of t towers; but for the `plain` form with a gradient by hand."""
    return _product(x, kernel) if form == "plain" else _fast(mark(x), mark(kernel))


def _product(x: Array, kernel: Array) -> Array:
    """The product of each tower.

    One product of a batch of towers: by themselves XLA on CPU copies the weights of each before it
    multiplies (151 MB in fc6).
    """
    return jnp.broadcast_to(x, (len(kernel), *x.shape)) @ kernel


_fast = jax.custom_vjp(_product)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _fast(x, kernel), (x, kernel)


def _backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    if jax.default_backend() == "cpu":
        # A product with the transposed weights takes 5 times as long as one with the weights as
        # they are, [n, m] @ [m, b]. The barrier keeps XLA from making the first of the second.
        parts = jax.lax.optimization_barrier(kernel @ g.swapaxes(1, 2))
        for_x = parts.sum(0).T
    else:
        for_x = jnp.einsum("tbm,tnm->bn", g, kernel)
    return for_x, jnp.broadcast_to(x.T, (len(kernel), *x.T.shape)) @ g


_fast.defvjp(_forward, _backward)
