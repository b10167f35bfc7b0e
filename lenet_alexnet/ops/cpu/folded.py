"""A layout of maps that makes a small network fast on a CPU: convolutions as wide products.

Blocks of side x side neighbours are channels, so a convolution becomes matrix products with long
rows. The batch comes last, so everything else (slices, sums, activations, other block sizes) works
on whole vectors: from the image to S4, LeNet-5 moves no single numbers.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet.ops.layouts import Folded
from lenet_alexnet.runtime import target


def add_bias(x: Folded, bias: Float[Array, " c"]) -> Folded:
    """The maps, each plus its bias."""
    blocks = x.data.reshape(x.side**2, -1, *x.data.shape[1:])
    return Folded((blocks + bias[:, None, None, None]).reshape(x.data.shape), x.side)


def average(x: Folded, size: int) -> Folded:
    """The means of size x size neighbours; `size` divides the side of the blocks."""
    s, (_, *rest) = x.side // size, x.data.shape
    windows = x.data.reshape(s, size, s, size, -1, *rest)
    return Folded(windows.mean((1, 3)).reshape(-1, *rest), s)


def conv_folded(x: Float[Array, "b h w c"] | Folded, kernel: Float[Array, "k k c f"]) -> Folded:
    """A convolution with stride 1 and no padding, as matrix products.

    Each block of outputs is one product of the n x n blocks of inputs that it sees and a large
    kernel: copies of the kernel at each offset, zeros elsewhere. For 5x5 kernels that is 1.44 times
    the multiply-adds.
    """
    size = len(kernel)
    height, width = (side - size + 1 for side in x.shape[1:3])
    s = 2 if height % 2 == width % 2 == 0 else 1
    n = -(-(s + size - 1) // s)
    return Folded(_conv_blocks(_in_blocks(x, size, s), _large_kernel(kernel, s, n)), s)


def _conv_blocks(x: Float[Array, "k _ _ b"], weights: Float[Array, "n _ f"]) -> Array:
    """One product: [f, R, C, b]."""
    n = len(weights)
    seen = _seen(_seen(x[None], 3, n), 2, n)[0]
    out = _product(weights.reshape(len(seen), -1), seen.reshape(len(seen), -1))
    return out.reshape(-1, *seen.shape[1:])


def _in_blocks(x: Float[Array, "b h w c"] | Folded, size: int, s: int) -> Array:
    """The part of the maps that a kernel sees, in whole blocks of side s."""
    if isinstance(x, Folded):
        height, width = x.shape[1:3]
        if height % s == width % s == 0 and (s + size - 1) % s == 0:
            return x.with_side(s).data
        x = x.nhwc()
    return _fold(x, size, s)


def _fold(x: Array, size: int, s: int) -> Array:
    n = -(-(s + size - 1) // s)
    rows, columns = ((side - size + 1) // s + n - 1 for side in x.shape[1:3])
    more = [max(blocks * s - side, 0) for blocks, side in zip((rows, columns), x.shape[1:3])]  # noqa: B905
    # Only zeros of the large kernel see this padding.
    x = jnp.pad(x, ((0, 0), (0, more[0]), (0, more[1]), (0, 0)))[:, : rows * s, : columns * s]
    x = x.reshape(len(x), rows, s, columns, s, -1).transpose(2, 4, 5, 1, 3, 0)
    return _now(x.reshape(-1, *x.shape[3:]))


def _now(x: Array) -> Array:
    """The same array, computed once.

    XLA on CPU drops `optimization_barrier` and would compute a transposed image again for each of
    its slices. It does not fuse a sum into the operations that read it.
    """
    if target.platform() != "cpu":
        return jax.lax.optimization_barrier(x)
    return jnp.pad(x[None], [(0, 1)] + [(0, 0)] * x.ndim).sum(0)


@jax.custom_vjp
def _product(weights: Float[Array, "*p k f"], x: Float[Array, "*p k n"]) -> Array:
    """The filters' outputs at n places: [*p, f, n].

    XLA's CPU library splits such a product over the cores only if the first factor is not
    transposed. So it is transposed before; neither gradient needs that.
    """
    return _now(weights.swapaxes(-1, -2)) @ x


def _product_forward(weights: Array, x: Array) -> tuple[Array, tuple[Array, Array]]:
    return _product(weights, x), (weights, x)


def _product_backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    weights, x = saved
    return x @ g.swapaxes(-1, -2), weights @ g


_product.defvjp(_product_forward, _product_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _seen(x: Array, axis: int, n: int) -> Array:
    """The n neighbours of each entry along an axis, as channels: [p, k, ...] -> [p, n * k, ...]."""
    outputs = x.shape[axis] - n + 1
    parts = [jax.lax.slice_in_dim(x, i, i + outputs, axis=axis) for i in range(n)]
    return jnp.concatenate(parts, 1)


def _forward(x: Array, axis: int, n: int) -> tuple[Array, None]:
    return _seen(x, axis, n), None


def _backward(axis: int, n: int, _: None, g: Array) -> tuple[Array]:
    """Part i of n is moved by i places, then all are added: a sum over an axis.

    Otherwise XLA computes all summands of an entry wherever that entry is read, a third of the
    time of LeNet-5's gradient.
    """
    g = jnp.moveaxis(g.reshape(len(g), n, -1, *g.shape[2:]), 1, axis)
    before, outputs, rest = g.shape[:axis], g.shape[axis + 1], g.shape[axis + 2 :]
    g = jnp.pad(g, [(0, n if i == axis + 1 else 0) for i in range(g.ndim)])
    # Read as rows that are one shorter, each row begins one place later than the row before.
    g = g.reshape(*before, n * (outputs + n), *rest)
    g = jax.lax.slice_in_dim(g, 0, n * (outputs + n - 1), axis=axis)
    return (g.reshape(*before, n, outputs + n - 1, *rest).sum(axis),)


_seen.defvjp(_forward, _backward)


def _large_kernel(kernel: Array, s: int, n: int) -> Array:
    """The kernel at each of the s * s offsets: [n, n * s * s * c, s * s * f], by rows of blocks."""
    size, _, channels, filters = kernel.shape
    free = n * s - size
    offsets = [
        jnp.pad(kernel, ((i, free - i), (j, free - j), (0, 0), (0, 0)))
        for i in range(s)
        for j in range(s)
    ]
    large = jnp.stack(offsets, axis=-2).reshape(n, s, n, s, channels, s * s * filters)
    return large.transpose(0, 2, 1, 3, 4, 5).reshape(n, -1, s * s * filters)
