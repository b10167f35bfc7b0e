"""Normalisation of AlexNet's maps: over neighbouring maps, within a map, over the batch."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from lenet_alexnet import ops
from lenet_alexnet.models.alexnet.axes import Axes, TowerMaps
from lenet_alexnet.models.alexnet.layers import Plain
from lenet_alexnet.models.layers import Shape
from lenet_alexnet.ops import ConvForm, Maps


class ResponseNorm(Plain):
    """Local response normalisation over neighbouring maps (sec. 3.3)."""

    size: int = 5
    k: float = 2.0
    alpha: float = 1e-4  # times the sum of squares, not their mean
    beta: float = 0.75

    def apply_to(self, x: Maps) -> Maps:
        """Divides."""
        return ops.response_norm(
            x, size=self.size, k=self.k, alpha=self.alpha, beta=self.beta, form=self.form
        )


class CrossTowerNorm(ResponseNorm):
    """The same over the concatenated maps of all towers, as in Caffe."""

    @nn.compact
    def __call__(self, x: TowerMaps) -> TowerMaps:
        """Divides; the last map of one tower and the first of the next are neighbours."""
        together = self.apply_to(ops.concatenate_channels(x))
        return ops.split_channels(together, len(x))


class SpatialNorm(Plain):
    """Response normalisation over 5x5 neighbours in a map: "cnorm2" of layers-145.cfg."""

    def apply_to(self, x: Maps) -> Maps:
        """Divides; the scale .001 is divided by the 25 squares (layer.py, NormLayerParser)."""
        return ops.spatial_response_norm(
            x, size=5, k=1.0, alpha=0.001 / 25, beta=0.75, form=self.form
        )


class BatchNorm(nn.Module):
    """Batch normalisation of every map over the whole batch, on all devices.

    Where it is `frozen`, it uses its moving averages in training too, and these stay.
    """

    form: ConvForm = "plain"
    axes: Axes = Axes()
    frozen: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-4

    @nn.compact
    def __call__(self, x: TowerMaps) -> TowerMaps:
        """With the batch's statistics in training, else with their moving averages."""
        shape = (len(x), x[0].shape[-1])
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        training = self.has_rng("dropout") and not self.is_initializing() and not self.frozen
        means, variances = mean.value, var.value
        if training:
            moments = [ops.channel_moments(y, self.form) for y in x]
            means, squares = (self._mean(list(each)) for each in zip(*moments, strict=True))
            variances = jnp.maximum(squares - means**2, 0.0)  # Rounding may give less than 0.
            mean.value = self.momentum * mean.value + (1 - self.momentum) * means
            var.value = self.momentum * var.value + (1 - self.momentum) * variances
        factor = scale * jax.lax.rsqrt(variances + self.epsilon)
        shift = bias - means * factor

        return [ops.scale_channels(y, factor[t], shift[t], self.form) for t, y in enumerate(x)]

    def _mean(self, each: list[Array]) -> Array:
        stacked = jnp.stack(each)
        return jax.lax.pmean(stacked, self.axes.data) if self.axes.data else stacked

    def connections(self, output_shape: Shape) -> int:
        """Each unit's input and bias."""
        return 2 * math.prod(output_shape)

    def multiply_adds(self, output_shape: Shape) -> int:
        """One for every unit."""
        return math.prod(output_shape)
