"""The product of a dense layer."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.ops import cpu
from lenet_alexnet.ops.fast import mark
from lenet_alexnet.ops.forms import ConvForm
from lenet_alexnet.runtime import target


def dense(
    x: Float[Array, "b n"], kernel: Float[Array, "t n m"], form: ConvForm = "plain"
) -> Float[Array, "t b m"]:
    """X @ kernel for each of t towers; in fast forms, its gradient is written by hand."""
    return _product(x, kernel) if form == "plain" else _fast(mark(x), mark(kernel))


def _product(x: Array, kernel: Array) -> Array:
    """The product of each tower.

    One batched product: in separate products, XLA on CPU copies the weights of each tower first
    (151 MB in fc6).
    """
    return jnp.broadcast_to(x, (len(kernel), *x.shape)) @ kernel


_fast = jax.custom_vjp(_product)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _fast(x, kernel), (x, kernel)


def _backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    if target.platform() == "cpu":
        for_x = cpu.product_with_transposed(kernel, g)
    else:
        for_x = jnp.einsum("tbm,tnm->bn", g, kernel)
    return for_x, jnp.broadcast_to(x.T, (len(kernel), *x.T.shape)) @ g


_fast.defvjp(_forward, _backward)
