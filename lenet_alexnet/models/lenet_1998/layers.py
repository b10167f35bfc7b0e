"""The layers of the 1998 networks (LeCun, Bottou, Bengio, Haffner 1998, secs. II.A-II.C).

Maps are channel first, [B, maps, rows, columns], as the paper writes them ("6@28x28").
Each layer is an affine function (`linear`) and an activation; the second backward pass of
`optimizers/sdlm.py` needs them separate. `connections` and `multiply_adds` take an output shape
without the batch.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lenet_alexnet import ops
from lenet_alexnet.models.layers import scaled_tanh
from lenet_alexnet.models.lenet_1998 import tables

# ---------------------------------------------------------------- initialisation

Bound = Float[np.ndarray, "..."] | Float[Array, "..."]  # traced if a sweep varies the scale


@dataclasses.dataclass(frozen=True)
class Initialisation:
    """How initial parameters are drawn; `network.py` explains the fields."""

    scale: float | Float[Array, ""]
    power: float | Float[Array, ""]
    bias: Literal["weights", "zero"]
    bias_in_fan_in: bool
    coefficient: tuple[float, float]
    subsampling_bias: float | Float[Array, ""]

    def bound(self, fan_in: Int[np.ndarray, "..."] | int) -> Bound:
        """Weights of a unit with `fan_in` inputs are uniform in +-bound."""
        inputs = np.asarray(fan_in, np.float32) + self.bias_in_fan_in
        bound = self.scale / inputs**self.power
        return bound if isinstance(bound, jax.Array) else np.asarray(bound)

    def bias_bound(self, fan_in: Int[np.ndarray, "..."] | int) -> Bound:
        """Biases of a unit with `fan_in` inputs are uniform in +-bias_bound."""
        bound = self.bound(fan_in)
        return bound if self.bias == "weights" else np.zeros(bound.shape, np.float32)


def uniform(low: Any, high: Any) -> Callable[..., Float[Array, "..."]]:
    """Initialiser: uniform in [low, high); the bounds broadcast to the shape."""
    return lambda key, shape: low + (high - low) * jax.random.uniform(key, shape)


# ---------------------------------------------------------------- layers


def patches(x: Float[Array, "B C H W"], size: int) -> Float[Array, "B P Q"]:
    """The size x size neighbourhoods: P = C*size*size inputs of each of the Q valid positions."""
    batch, channels, height, width = x.shape
    rows, columns = height - size + 1, width - size + 1
    if rows * columns > 1:
        # Slices along the rows, then along the columns: on a CPU, in a loop and with a kernel per
        # vmap lane, these and their gradient are many times faster than a convolution.
        x = jnp.stack([x[..., j : j + columns] for j in range(size)], axis=2)
        x = jnp.stack([x[..., i : i + rows, :] for i in range(size)], axis=2)
    return x.reshape(batch, channels * size * size, rows * columns)


def weighted_sums(weights: Float[Array, "O P"], x: Float[Array, "B P Q"]) -> Float[Array, "B O Q"]:
    """sum_p weights[o, p] x[b, p, q], written so that XLA's CPU backend copies nothing."""
    if x.shape[2] == 1:
        return (x[:, :, 0] @ weights.T)[:, :, None]
    if x.shape[0] == 1:
        return (weights @ x[0])[None]
    return jnp.einsum("op,bpq->boq", weights, x)


def spread(table: tables.Table) -> Callable[[Float[Array, "N K"]], Float[Array, "O I K"]]:
    """From the kernels of the N connected (output, input) maps to all kernels, 0 elsewhere."""
    connected = np.array(table, bool).T  # output map, input map
    cells = connected.reshape(-1)
    if cells.all():
        return lambda kernels: kernels.reshape(*connected.shape, -1)
    return lambda kernels: ops.place_rows(kernels, cells).reshape(*connected.shape, -1)


class Convolution1998(nn.Module):
    """Valid 5x5 convolution (C1, C3, C5): map o sees map i if table[i][o]; one bias a map."""

    table: tables.Table
    initial: Initialisation
    size: int = 5

    @nn.compact
    def linear(self, x: Float[Array, "B I H W"]) -> Float[Array, "B O H2 W2"]:
        """Weighted sums a. Kernels: [connected pairs, size, size], in the order of output maps."""
        connected = np.array(self.table).T  # output map, input map
        maps, fan_in = connected.shape[0], connected.sum(1) * self.size**2
        bound = self.initial.bound(np.repeat(fan_in, connected.sum(1)))[:, None, None]
        kernel = self.param("kernel", uniform(-bound, bound), (len(bound), self.size, self.size))
        bound = self.initial.bias_bound(fan_in)
        bias = self.param("bias", uniform(-bound, bound), (maps,)).astype(x.dtype)

        dense = spread(self.table)(kernel.astype(x.dtype).reshape(len(kernel), -1))
        a = weighted_sums(dense.reshape(maps, -1), patches(x, self.size))
        a = a + bias[:, None]
        return a.reshape(x.shape[0], maps, x.shape[2] - self.size + 1, x.shape[3] - self.size + 1)

    def __call__(self, x: Float[Array, "B I H W"]) -> Float[Array, "B O H2 W2"]:
        """States x = f(a)."""
        return scaled_tanh(self.linear(x))

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Weights times positions, for an output of (maps, rows, columns)."""
        _, rows, columns = output_shape
        return int(np.sum(self.table)) * self.size**2 * rows * columns

    def connections(self, output_shape: tuple[int, ...]) -> int:
        """As the paper counts: a unit's weights and its bias."""
        return self.multiply_adds(output_shape) + math.prod(output_shape)


class Subsample(nn.Module):
    """2x2 subsampling (S2, S4): the sum of four times a coefficient a map, plus a bias a map."""

    maps: int
    initial: Initialisation

    @nn.compact
    def linear(self, x: Float[Array, "B C H W"]) -> Float[Array, "B C H2 W2"]:
        """Weighted sums a. Sec. II.B adds the four inputs (sec. II.A averages them)."""
        coefficient = self.param("coefficient", uniform(*self.initial.coefficient), (self.maps,))
        bound = self.initial.subsampling_bias
        bias = self.param("bias", uniform(-bound, bound), (self.maps,)).astype(x.dtype)

        batch, maps, height, width = x.shape
        total = x.reshape(batch, maps, height // 2, 2, width // 2, 2).sum((3, 5))
        return coefficient.astype(x.dtype)[:, None, None] * total + bias[:, None, None]

    def __call__(self, x: Float[Array, "B C H W"]) -> Float[Array, "B C H2 W2"]:
        """States x = f(a)."""
        return scaled_tanh(self.linear(x))

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Four inputs a unit, counted like the paper's connections."""
        return 4 * math.prod(output_shape)

    def connections(self, output_shape: tuple[int, ...]) -> int:
        """Four inputs and a bias a unit."""
        return 5 * math.prod(output_shape)


class Dense1998(nn.Module):
    """Full connection of all states below to `features` units (F6; the output units of LeNet-1)."""

    inputs: int
    features: int
    initial: Initialisation

    @nn.compact
    def linear(self, x: Float[Array, "B ..."]) -> Float[Array, "B O"]:
        """Weighted sums a."""
        bound, bias_bound = self.initial.bound(self.inputs), self.initial.bias_bound(self.inputs)
        kernel = self.param("kernel", uniform(-bound, bound), (self.inputs, self.features))
        bias = self.param("bias", uniform(-bias_bound, bias_bound), (self.features,))
        return x.reshape(x.shape[0], -1) @ kernel.astype(x.dtype) + bias.astype(x.dtype)

    def __call__(self, x: Float[Array, "B ..."]) -> Float[Array, "B O"]:
        """States x = f(a)."""
        return scaled_tanh(self.linear(x))

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """All weights."""
        return self.inputs * math.prod(output_shape)

    def connections(self, output_shape: tuple[int, ...]) -> int:
        """All weights and a bias a unit."""
        return (self.inputs + 1) * math.prod(output_shape)


class RBF(nn.Module):
    """Euclidean radial basis functions around fixed codes: y_i = sum_j (x_j - w_ij)^2, eq. 7."""

    inputs: int

    def __call__(self, x: Float[Array, "B J"]) -> Float[Array, "B 10"]:
        """Penalties, one a class; the codes are constants, "chosen by hand and kept fixed"."""
        return distances(x, tables.digit_codes())

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """One a code element."""
        return self.inputs * math.prod(output_shape)

    def connections(self, output_shape: tuple[int, ...]) -> int:
        """One a code element: connections, but no trainable parameters."""
        return self.inputs * math.prod(output_shape)


def distances(x: Float[Array, "B J"], codes: Float[np.ndarray, "I J"]) -> Float[Array, "B I"]:
    """Squared distances of the states x to each code, eq. 7."""
    return jnp.sum((x[:, None, :] - jnp.asarray(codes, x.dtype)) ** 2, axis=-1)


Layer = Convolution1998 | Subsample | Dense1998  # with parameters
