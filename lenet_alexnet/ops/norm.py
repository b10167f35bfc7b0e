"""Response normalisation across maps (LRN) and within a map."""

import jax

from lenet_alexnet.ops import lrn
from lenet_alexnet.ops.fast import mark
from lenet_alexnet.ops.forms import ConvForm
from lenet_alexnet.ops.layouts import HWNC, ChannelsLast, Maps, Normalised, channels_last, rows_axis
from lenet_alexnet.ops.lrn import Window
from lenet_alexnet.runtime import target


def response_norm(
    x: Maps, *, size: int, k: float, alpha: float, beta: float, form: ConvForm = "plain"
) -> ChannelsLast | Normalised:
    """Across maps: x / (k + alpha * sum of x^2 over `size` neighbours)^beta (2012, sec. 3.3).

    The window of map i is i - size//2 .. i - size//2 + size - 1, cut off at the first and last map.
    Except in the `plain` form, the gradient is written by hand; on GPUs the values are computed
    where they are read, see `Normalised`.
    """
    x = channels_last(x)
    if form != "plain" and target.platform() != "cpu" and not isinstance(x, HWNC):
        return Normalised(mark(x), (1, 1, 1, size), k, alpha, beta)
    return _each(x, (1, 1, 1, size), k, alpha, beta, form)


def spatial_response_norm(
    x: Maps, *, size: int, k: float, alpha: float, beta: float, form: ConvForm = "plain"
) -> ChannelsLast:
    """The same over size x size neighbours within a map ("rnorm" of layers-145.cfg)."""
    x = channels_last(x)
    window = (1, size, size, 1) if rows_axis(x) else (size, size, 1, 1)
    return _each(x, window, k, alpha, beta, form)


def _each(
    x: ChannelsLast, window: Window, k: float, alpha: float, beta: float, form: ConvForm
) -> ChannelsLast:
    if form == "plain":
        return jax.tree.map(lambda a: lrn.normalise(a, window, k, alpha, beta), x)
    return jax.tree.map(lambda a: lrn.fast_normalise(mark(a), window, k, alpha, beta), x)
