"""The bias of a convolution, whose gradient is a sum over all positions of all images."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.runtime import target

LARGE = 500  # positions: on AlexNet's maps before pool2


def sums_apart(maps: Array) -> bool:
    """Whether `add_bias` is for these maps: on a GPU, and large."""
    return target.platform() != "cpu" and maps.shape[1] * maps.shape[2] > LARGE


@jax.custom_vjp
def add_bias(maps: Float[Array, "b h w f"], bias: Float[Array, " f"]) -> Float[Array, "b h w f"]:
    """Maps + bias; the gradient of the maps is stored before it is summed.

    Else XLA computes the gradient of pooling and normalisation inside the sum: one such kernel took
    6.8 of the 26 ms of a step of AlexNet on an H200 (experiments/016_gpu).
    """
    return maps + bias


def _forward(maps: Array, bias: Array) -> tuple[Array, None]:
    return maps + bias, None


def _backward(_: None, g: Array) -> tuple[Array, Array]:
    g = jax.lax.optimization_barrier(g)
    return g, jnp.sum(g, axis=(0, 1, 2))


add_bias.defvjp(_forward, _backward)
