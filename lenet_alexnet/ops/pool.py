"""Max pooling."""

from functools import partial, reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def max_pool(
    x: Float[Array, "b h w c"], *, size: int, stride: int, ceil: bool = False
) -> Float[Array, "b h2 w2 c"]:
    """The largest of each size x size window, `stride` apart.

    With `ceil` a last window that reaches over the edge counts too, as in the source of 2012
    (layer.py, PoolLayerParser); else it is left out. The gradient goes to the first of equal
    maxima, by rows.
    """
    over = [(size - n) % stride if ceil else 0 for n in x.shape[1:3]]
    if any(over):
        padding = ((0, 0), (0, over[0]), (0, over[1]), (0, 0))
        x = jnp.pad(x, padding, constant_values=-jnp.inf)
    return _max_pool(x, size, stride)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_pool(x: Array, size: int, stride: int) -> Array:
    """The maximum of size * size strided slices: XLA's own form has a slow, atomic gradient."""
    return reduce(jnp.maximum, _slices(x, size, stride))


def _slices(x: Array, size: int, stride: int) -> list[Array]:
    """Entry (i, j) of every window, for each i and j."""
    height, width = ((n - size) // stride * stride + 1 for n in x.shape[1:3])
    return [
        x[:, i : i + height : stride, j : j + width : stride]
        for i in range(size)
        for j in range(size)
    ]


def _forward(x: Array, size: int, stride: int) -> tuple[Array, tuple[Array, Array]]:
    y = _max_pool(x, size, stride)
    return y, (x, y)


def _backward(size: int, stride: int, saved: tuple[Array, Array], g: Array) -> tuple[Array]:
    x, y = saved
    free = jnp.ones_like(y, bool)
    total = jnp.zeros_like(x)
    for n, part in enumerate(_slices(x, size, stride)):
        hit = free & (part == y)
        free &= ~hit
        total += _spread(jnp.where(hit, g, 0), n // size, n % size, stride, x.shape)
    return (total,)


def _spread(g: Array, i: int, j: int, stride: int, shape: tuple[int, ...]) -> Array:
    """The transpose of a strided slice from (i, j)."""
    height, width = ((n - 1) * stride + 1 for n in g.shape[1:3])
    padding = [
        (0, 0, 0),
        (i, shape[1] - i - height, stride - 1),
        (j, shape[2] - j - width, stride - 1),
        (0, 0, 0),
    ]
    return jax.lax.pad(g, jnp.zeros((), g.dtype), padding)


_max_pool.defvjp(_forward, _backward)
