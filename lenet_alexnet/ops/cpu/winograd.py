"""Convolution with fewer multiplications (Winograd 1980; Lavin and Gray, arXiv:1509.09308).

A tile of m x m outputs from n x n inputs, n = m + k - 1, and a k x k kernel is like a product of
polynomials: both are evaluated at n points in each direction and multiplied there (n^2 products
instead of m^2 k^2), and the outputs are read off: Y = A^T [(G g G^T) * (B^T d B)] A. Over the
channels that is a matrix product for each pair of points. Here B includes the tiling, the padding
and the cut at the edge, so both steps of B^T d B are matrix products, too.
"""

from fractions import Fraction
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lenet_alexnet.ops.blocks import fold_stride
from lenet_alexnet.ops.forms import NO_PADDING, Padding
from lenet_alexnet.ops.layouts import HWNC, nhwc

# The largest tile by kernel size: with a larger one, float32 errs by 1e-5 of the largest output.
LARGEST_TILE = {1: 1, 2: 4, 3: 4, 4: 3, 5: 4}
# With at most this many tiles, the gradient of a 5 x 5 kernel is added up in parts (`_products`).
FEW_TILES = 400
# Besides infinity, always the last; small and balanced, so that rounding errors stay small.
POINTS = tuple(Fraction(p) for p in ("0", "1", "-1", "1/2", "-2", "2", "-1/2"))


def conv_winograd(
    x: Float[Array, "b h w c"] | HWNC,
    kernel: Float[Array, "k k c f"],
    stride: int,
    padding: Padding,
) -> HWNC:
    """A convolution (cross-correlation), computed in float32.

    A stride becomes 1 by folding stride x stride blocks into channels; then the kernel's side must
    be at most 5.
    """
    if stride > 1:
        maps, kernel = fold_stride(nhwc(x), kernel, stride, padding, inside=True)
        x, padding = HWNC(maps), NO_PADDING
    data = x.data if isinstance(x, HWNC) else x.transpose(1, 2, 0, 3)
    dtype, batch = data.dtype, data.shape[2]
    size, _, channels, filters = kernel.shape
    outputs = [n + sum(more) - size + 1 for n, more in zip(data.shape[:2], padding, strict=True)]
    rows, columns = (
        _transform(n, size, before, out)
        for n, (before, _), out in zip(data.shape[:2], padding, outputs, strict=True)
    )
    data, kernel = data.astype(jnp.float32), kernel.astype(jnp.float32)
    at_points = jnp.dot(rows.inputs, data.reshape(len(data), -1))
    at_points = _each_row(columns.inputs, at_points.reshape(len(at_points), data.shape[1], -1))
    at_points = at_points.reshape(rows.n, rows.tiles, columns.n, columns.tiles, batch, channels)
    at_points = at_points.transpose(0, 2, 1, 3, 4, 5).reshape(rows.n * columns.n, -1, channels)
    weights = jnp.dot(np.kron(rows.kernel, columns.kernel), kernel.reshape(size * size, -1))
    weights = weights.reshape(-1, channels, filters)
    if size == 5 and at_points.shape[1] <= FEW_TILES:
        out = _products(at_points, weights, rows.tiles)
    else:
        out = at_points @ weights
    out = jnp.dot(np.kron(rows.outputs, columns.outputs), out.reshape(len(out), -1))
    out = out.reshape(rows.m, columns.m, rows.tiles, columns.tiles, batch, filters)
    out = out.transpose(2, 0, 3, 1, 4, 5)
    out = out.reshape(rows.tiles * rows.m, columns.tiles * columns.m, batch, filters)
    return HWNC(out[: outputs[0], : outputs[1]].astype(dtype))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _products(
    inputs: Float[Array, "p t c"], weights: Float[Array, "p c f"], parts: int
) -> Float[Array, "p t f"]:
    """The products at every point; the gradient of the weights is a sum of `parts` sums of tiles.

    The way back from the points to a 5 x 5 kernel enlarges a rounding error 35 times, and XLA adds
    up a few hundred tiles in one go: the gradient then errs by 1.2e-5 of the largest, in parts by
    0.6e-5. More tiles it adds up by blocks; parts of them cost more and gain less
    (experiments/004_speed/NOTES.md).
    """
    return inputs @ weights


def _forward(inputs: Array, weights: Array, parts: int) -> tuple[Array, tuple[Array, Array]]:
    return inputs @ weights, (inputs, weights)


def _backward(parts: int, residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    inputs, weights = residuals
    split, g_split = (a.reshape(len(a), parts, -1, a.shape[-1]) for a in (inputs, g))
    return g @ weights.swapaxes(1, 2), (split.swapaxes(2, 3) @ g_split).sum(1)


_products.defvjp(_forward, _backward)


def _each_row(matrix: np.ndarray, maps: Float[Array, "h w n"]) -> Float[Array, "h w2 n"]:
    """A matrix times every row.

    One small product for each row: for a single product, XLA would transpose everything twice.
    """
    return jnp.broadcast_to(matrix, (len(maps), *matrix.shape)) @ maps


class Transform(NamedTuple):
    """The three matrices for one direction."""

    m: int
    n: int
    tiles: int
    inputs: np.ndarray  # [n * tiles, side]: B^T at every tile
    kernel: np.ndarray  # [n, k]: G
    outputs: np.ndarray  # [m, n]: A^T


@cache
def _transform(side: int, size: int, before: int, outputs: int) -> Transform:
    """The tile with the fewest products for a side with `before` zeros before it."""
    m = min(range(1, LARGEST_TILE[size] + 1), key=lambda m: (-(-outputs // m) * (m + size - 1), m))
    n, tiles = m + size - 1, -(-outputs // m)
    out, kernel, tile = _toom_cook(m, size)
    inputs = np.zeros((n, tiles, side))
    for t in range(tiles):
        for i in range(n):
            if 0 <= (at := t * m + i - before) < side:
                inputs[:, t, at] = tile[:, i]
    matrices = (inputs.reshape(n * tiles, side), kernel, out)
    return Transform(m, n, tiles, *(a.astype(np.float32) for a in matrices))


def _toom_cook(m: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A^T [m, n], G [n, k] and B^T [n, n].

    The inverse of the Vandermonde matrix gives a product of polynomials with m and k coefficients
    from its values at n points; the transpose is the correlation of n numbers with k.
    """
    n = m + k - 1
    inverse = _inverse(_vandermonde(n, n))
    outputs, kernel = _vandermonde(n, m).T, _vandermonde(n, k)
    # Scaling a row of G and dividing the row of B^T by the same changes nothing.
    scale = abs(inverse).max(0)
    kernel, tile = kernel * scale[:, None], (inverse / scale).T
    return outputs.astype(float), kernel.astype(float), tile.astype(float)


def _vandermonde(n: int, terms: int) -> np.ndarray:
    """Powers of the points; at the last, infinity, only the highest power counts."""
    finite = [[point**i for i in range(terms)] for point in POINTS[: n - 1]]
    return np.array([*finite, [Fraction(i == terms - 1) for i in range(terms)]])


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """The exact inverse of a matrix of fractions."""
    n = len(matrix)
    both = np.concatenate([matrix, [[Fraction(i == j) for j in range(n)] for i in range(n)]], 1)
    for i in range(n):
        pivot = next(j for j in range(i, n) if both[j, i] != 0)
        both[[i, pivot]] = both[[pivot, i]]
        both[i] /= both[i, i]
        for j in range(n):
            if j != i:
                both[j] -= both[j, i] * both[i]
    return both[:, n:]
