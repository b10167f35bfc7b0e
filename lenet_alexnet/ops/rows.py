"""Rows of an array moved to other places; the gradient moves them back.

JAX's own gradient of indexing is a scatter, a slow loop on CPUs. This is a gather both ways, and a
linear operation for JAX, so it has all derivatives.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Bool, Float


def place_rows(x: Float[Array, "n k"], there: Bool[np.ndarray, " m"]) -> Float[Array, "m k"]:
    """The n rows of x, in order, where `there` is true (n times); zeros elsewhere."""
    cells = np.flatnonzero(there)
    source = np.full(len(there), -1)
    source[cells] = np.arange(len(cells))
    return _rows.bind(x, source=tuple(source.tolist()), back=tuple(cells.tolist()))


_rows = Primitive("lenet_alexnet_rows")


def _take(x: Any, *, source: tuple[int, ...], back: tuple[int, ...]) -> Array:
    """Row i is x[source[i]], or zeros for -1; `back` is the same for the gradient."""
    index = np.array(source)
    if (index < 0).any():
        x, index = jnp.concatenate([x, jnp.zeros_like(x[:1])]), np.where(index < 0, len(x), index)
    return x[index]


def _batch(arguments: Any, axes: Any, **places: tuple[int, ...]) -> tuple[Array, int]:
    """Under vmap the batch comes last."""
    (x,), (axis,) = arguments, axes
    return _rows.bind(jnp.moveaxis(x, axis, -1), **places), x.ndim - 1


_rows.def_impl(_take)
_rows.def_abstract_eval(lambda x, *, source, back: x.update(shape=(len(source), *x.shape[1:])))
ad.deflinear2(_rows, lambda g, x, *, source, back: [_rows.bind(g, source=back, back=source)])
batching.primitive_batchers[_rows] = _batch
mlir.register_lowering(_rows, mlir.lower_fun(_take, multiple_results=False))
