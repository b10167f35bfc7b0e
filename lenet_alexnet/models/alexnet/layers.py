"""AlexNet's layers, in one or two towers.

A tower is the half of every layer that one of the two GPUs of 2012 held. Parameters have a leading
tower axis, [T, ...], and between layers the towers are a list of T arrays. On two devices
(`parallel.mode` tower) each holds one: the same code runs with a list of one array, and the devices
exchange data where the towers meet (`Axes`).
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet import ops
from lenet_alexnet.models.alexnet.axes import Axes, TowerMaps, Towers
from lenet_alexnet.models.layers import Activation, Shape, identity
from lenet_alexnet.ops import ConvForm, Maps


class Conv(nn.Module):
    """A convolution of each tower: of its own maps, or of one array that all towers see."""

    features: int  # of all towers together
    kernel_size: int
    towers: int
    std: float | None  # of the initial normal weights; None: He's sqrt(2 / fan-in)
    bias: float | None  # initial value; None: no bias (before batch normalisation)
    activation: Activation = identity
    stride: int = 1
    padding: ops.Padding = ops.NO_PADDING
    form: ConvForm = "plain"
    axes: Axes = Axes()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: TowerMaps | Maps) -> TowerMaps:
        """Convolves, adds the bias, applies the activation."""
        local, size = self.axes.local(self.towers), self.kernel_size
        channels = x[0].shape[-1] if isinstance(x, list) else x.shape[-1]
        shape = (size, size, channels, self.features // self.towers)
        kernel = self.param("kernel", normal(self.std), (local, *shape), jnp.float32)
        bias = None
        if self.bias is not None:
            bias = self.param("bias", nn.initializers.constant(self.bias), (local, shape[-1]))
        if isinstance(x, list):
            biases = [None] * local if bias is None else bias
            return [self._convolve(y, kernel[t], biases[t]) for t, y in enumerate(x)]
        # All towers see the same maps: one convolution, then its maps are split.
        filters = jnp.moveaxis(kernel, 0, -2).reshape(*shape[:-1], -1)
        maps = self._convolve(x, filters, None if bias is None else bias.reshape(-1))
        return ops.split_channels(maps, local)

    def _convolve(self, x: Maps, kernel: Array, bias: Array | None) -> Maps:
        x, kernel, bias = jax.tree.map(lambda a: a.astype(self.dtype), (x, kernel, bias))
        return ops.conv_bias(
            x, kernel, bias, self.activation, self.form, stride=self.stride, padding=self.padding
        )

    def connections(self, output_shape: Shape) -> int:
        """Inputs of every unit and its bias."""
        return self.multiply_adds(output_shape) + (
            math.prod(output_shape) if self.bias is not None else 0
        )

    def multiply_adds(self, output_shape: Shape) -> int:
        """Kernel size times input channels for every unit."""
        kernel = self.variables["params"]["kernel"]
        return math.prod(output_shape) * math.prod(kernel.shape[1:-1])


class Dense(nn.Module):
    """A fully connected layer of each tower, of one array that all towers see."""

    features: int
    towers: int
    std: float | None
    bias: float
    activation: Activation = identity
    axes: Axes = Axes()
    dtype: Any = jnp.float32
    form: ConvForm = "plain"

    @nn.compact
    def __call__(self, x: Float[Array, "b n"]) -> Towers:
        """Multiplies, adds the bias, applies the activation."""
        local = self.axes.local(self.towers)
        each = self.features // self.towers // self.axes.dense_shards()
        shape = (local, x.shape[-1], each)
        kernel = self.param("kernel", normal(self.std), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.constant(self.bias), (local, each))
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        out = ops.dense(x, kernel, self.form)
        return [self.activation(out[t] + bias[t]) for t in range(local)]

    def connections(self, output_shape: Shape) -> int:
        """Inputs of every unit and its bias."""
        return self.multiply_adds(output_shape) + math.prod(output_shape)

    def multiply_adds(self, output_shape: Shape) -> int:
        """One for every weight."""
        return math.prod(self.variables["params"]["kernel"].shape)


class Output(nn.Module):
    """The last layer: every class sees all towers; each tower has the weights of its units."""

    features: int
    std: float | None
    bias: float
    axes: Axes = Axes()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Towers) -> Float[Array, "b k"]:
        """The sum of the towers' products, and the bias."""
        shape = (len(x), x[0].shape[-1], self.features)
        kernel = self.param("kernel", normal(self.std, shape[0] * shape[1]), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.constant(self.bias), (self.features,))
        kernel = kernel.astype(self.dtype)
        parts = [(y.astype(self.dtype) @ w).astype(jnp.float32) for y, w in zip(x, kernel)]  # noqa: B905
        return self.axes.sum_towers(sum(parts[1:], parts[0])) + bias

    def connections(self, output_shape: Shape) -> int:
        """Inputs of every unit and its bias."""
        return self.multiply_adds(output_shape) + math.prod(output_shape)

    def multiply_adds(self, output_shape: Shape) -> int:
        """One for every weight."""
        return math.prod(self.variables["params"]["kernel"].shape)


def normal(std: float | None, fan_in: int = 0) -> Callable[..., Array]:
    """Normal, mean 0, standard deviation `std` or (None) sqrt(2 / fan-in) (He et al. 2015)."""

    def init(key: Array, shape: Shape, dtype: Any = jnp.float32) -> Array:
        inputs = fan_in or math.prod(shape[1:-1])
        scale = math.sqrt(2 / inputs) if std is None else std
        return scale * jax.random.normal(key, shape, dtype)

    return init


class Plain(nn.Module, kw_only=True):
    """A layer without parameters, the same for every tower."""

    form: ConvForm = "plain"

    def apply_to(self, x: Maps) -> Maps:
        """The layer for one tower."""
        raise NotImplementedError

    @nn.compact
    def __call__(self, x: TowerMaps) -> TowerMaps:
        """Applies the layer to each tower."""
        return [self.apply_to(y) for y in x]

    def connections(self, output_shape: Shape) -> int:
        """Not counted for AlexNet: no weights."""
        return 0

    def multiply_adds(self, output_shape: Shape) -> int:
        """Not counted."""
        return 0


class MaxPool(Plain):
    """The largest of each window."""

    size: int = 3
    stride: int = 2
    ceil: bool = False

    def apply_to(self, x: Maps) -> Maps:
        """Pools."""
        return ops.max_pool(x, size=self.size, stride=self.stride, ceil=self.ceil, form=self.form)


class Dropout(nn.Module):
    """Dropout as in 2012 ("mask": no factor in training, times keep in testing) or "inverted".

    The mask depends on the key, the tower and the position in the batch, so it is the same on any
    number of devices.
    """

    rate: float | Array
    form: str = "mask"
    axes: Axes = Axes()

    @nn.compact
    def __call__(
        self, x: Towers, key: Array | None = None, position: Array | None = None
    ) -> Towers:
        """In training (with a `key`), a unit is 0 with probability `rate`.

        `position` gives the places of the rows in the whole batch, if they are not in order.
        """
        keep = 1 - self.rate
        if key is None:
            return x if self.form == "inverted" else [y * jnp.asarray(keep, y.dtype) for y in x]
        factor = 1 / keep if self.form == "inverted" else 1.0
        return [
            jnp.where(self._mask(key, t, y, keep, position), y * jnp.asarray(factor, y.dtype), 0)
            for t, y in enumerate(x)
        ]

    def _mask(self, key: Array, tower: int, y: Array, keep: Any, position: Array | None) -> Array:
        axes, (batch, width) = self.axes, y.shape
        key = jax.random.fold_in(key, jax.lax.axis_index(axes.tower) if axes.tower else tower)
        if position is None:
            position = jnp.arange(batch)
            if axes.data and not axes.dense:
                position += jax.lax.axis_index(axes.data) * batch
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, position)
        whole = width * axes.dense_shards()
        mask = jax.vmap(lambda k: jax.random.bernoulli(k, keep, (whole,)))(keys)
        if axes.dense:
            start = jax.lax.axis_index(axes.dense) * width
            mask = jax.lax.dynamic_slice_in_dim(mask, start, width, axis=1)
        return mask
