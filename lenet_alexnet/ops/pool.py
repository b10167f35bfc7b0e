"""Max pooling."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def max_pool(
    x: Float[Array, "b h w c"], *, size: int, stride: int, ceil: bool = False
) -> Float[Array, "b h2 w2 c"]:
    """The largest of each size x size window, `stride` apart.

    With `ceil` a last window that reaches over the edge counts too, as in the source of 2012
    (layer.py, PoolLayerParser); else it is left out.
    """
    over = [-(n - size) % stride if ceil else 0 for n in x.shape[1:3]]
    padding = ((0, 0), (0, over[0]), (0, over[1]), (0, 0))
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)
