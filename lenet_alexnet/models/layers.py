"""Layers as small linen modules with their counts.

A layer is what the papers name: weights, biases and activation together. Flax captures its output
under its name.

`connections` counts as in LeCun et al. 1998: each input of each unit, and its bias.
`multiply_adds` leaves out the biases. Output shapes are without the batch: (h, w, c) or (n,).
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet import ops
from lenet_alexnet.ops import ConvForm, Maps

Initializer = Callable[..., Array]
Activation = Callable[[Array], Array]
Shape = tuple[int, ...]
AMPLITUDE, SLOPE = 1.7159, 2.0 / 3.0  # LeCun et al. 1998, eqs. 5-6 and p. 41


def identity(x: Array) -> Array:
    """The activation of layers without one."""
    return x


class Conv(nn.Module):
    """A convolution with stride 1 and no padding, NHWC."""

    features: int
    kernel_size: int
    activation: Activation = identity
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros
    form: ConvForm = "plain"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """Convolves, adds the bias, applies the activation."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
        x, kernel, bias = jax.tree.map(lambda a: a.astype(self.dtype), (x, kernel, bias))
        return ops.conv_bias(x, kernel, bias, self.activation, self.form)

    def connections(self, output_shape: Shape) -> int:
        """Inputs of every unit and its bias."""
        return self.multiply_adds(output_shape) + math.prod(output_shape)

    def multiply_adds(self, output_shape: Shape) -> int:
        """Kernel size times input channels for every unit."""
        kernel = self.variables["params"]["kernel"]
        return math.prod(output_shape) * math.prod(kernel.shape[:-1])


class Dense(nn.Module):
    """A fully connected layer."""

    features: int
    activation: Activation = identity
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n"]) -> Float[Array, "b m"]:
        """Multiplies, adds the bias, applies the activation."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
        x = x.astype(self.dtype) @ kernel.astype(self.dtype)
        return self.activation(x + bias.astype(self.dtype))

    def connections(self, output_shape: Shape) -> int:
        """Inputs of every unit and its bias."""
        return self.multiply_adds(output_shape) + math.prod(output_shape)

    def multiply_adds(self, output_shape: Shape) -> int:
        """One for every weight."""
        return math.prod(self.variables["params"]["kernel"].shape)


class AveragePool(nn.Module):
    """The mean of non-overlapping size x size windows; nothing to train."""

    size: int = 2

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """Averages; height and width must be multiples of `size`."""
        return ops.average_pool(x, self.size)

    def connections(self, output_shape: Shape) -> int:
        """The inputs of every unit; there is no bias."""
        return math.prod(output_shape) * self.size**2

    def multiply_adds(self, output_shape: Shape) -> int:
        """One for every unit: the sum times 1/size^2."""
        return math.prod(output_shape)


def scaled_tanh(x: Array) -> Array:
    """1.7159 tanh(2x/3), so that f(1) = 1 and f(-1) = -1 (LeCun et al. 1998, appendix A)."""
    return AMPLITUDE * jnp.tanh(SLOPE * x)


def scaled_tanh_slope(y: Array) -> Array:
    """The derivative of `scaled_tanh` at x, written with y = scaled_tanh(x)."""
    return SLOPE * (AMPLITUDE - y * y / AMPLITUDE)
