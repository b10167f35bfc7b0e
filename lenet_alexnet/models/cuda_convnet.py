"""The CIFAR-10 networks of cuda-convnet (2011), used in sec. 3 of the paper of 2012.

They include Fig. 1's "four-layer convolutional network" and the net of sec. 3.3 whose error fell
from 13 to 11 %: footnote 3 of the paper refers to their code and parameter files.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet import ops
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.models.alexnet import layers, normalisation
from lenet_alexnet.models.alexnet.axes import TowerMaps
from lenet_alexnet.models.layers import Activation as Function
from lenet_alexnet.models.layers import Shape, identity
from lenet_alexnet.models.lenet import ACTIVATIONS, Activation
from lenet_alexnet.ops import ConvForm, Maps

# The side of the windows, which are 2 apart: those of 3x3 overlap. "none": no pooling.
POOLS = {"max": 3, "average": 3, "max_2x2": 2, "average_2x2": 2, "none": 1}
NORMS = ("none", "within", "across", "across_before_pool")

# What each network changes in the defaults, which are those of layers-19pct.cfg.
CUDA_CONVNETS: dict[str, dict[str, Any]] = {
    "19pct": {},
    "80sec": {"dense_width": 64, "stds": (1e-4, 0.01, 0.01, 0.1, 0.1)},
    "18pct": {"norms": ("within", "within", "none")},
    "13pct": {
        "image_size": 24,
        "widths": (64, 64),
        "pools": ("max", "max"),
        "norms": ("none", "none"),
        "local_widths": (32, 32),
        "stds": (1e-4, 0.01, 0.04, 0.04, 0.01),
    },
    "11pct": {
        "image_size": 24,
        "widths": (64, 64),
        "pools": ("max", "max"),
        "norms": ("across", "across_before_pool"),
        "local_widths": (64, 32),
        "stds": (1e-4, 0.01, 0.04, 0.04, 0.01),
    },
}


class Local(nn.Module):
    """A 3x3 convolution whose filters are not shared between positions; zeros beyond the edge."""

    features: int
    std: float | None  # None: He's sqrt(2 / fan-in)
    activation: Function = identity
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: TowerMaps) -> TowerMaps:
        """Applies each position's filters, the bias and the activation."""
        (maps,) = x
        _, height, width, channels = maps.shape
        shape = (height, width, 3, 3, channels, self.features)
        init = layers.normal(self.std, 9 * channels)
        kernel = self.param("kernel", init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (height, width, self.features))
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        out = ops.local_conv2d(maps, kernel, bias, padding=1)
        return [jax.tree.map(self.activation, out)]

    def connections(self, output_shape: Shape) -> int:
        """Inputs of every unit and its bias."""
        return self.multiply_adds(output_shape) + math.prod(output_shape)

    def multiply_adds(self, output_shape: Shape) -> int:
        """One for every weight: each is used once."""
        return math.prod(self.variables["params"]["kernel"].shape)


class AveragePool(layers.Plain):
    """The mean of each window, 2 apart; at the edge of the inputs inside."""

    size: int

    def apply_to(self, x: Maps) -> Maps:
        """Averages."""
        return ops.overlapping_average_pool(x, size=self.size, stride=2)


class WithinMapNorm(layers.Plain):
    """Response normalisation over 3x3 neighbours in a map: "rnorm" of layers-18pct.cfg."""

    def apply_to(self, x: Maps) -> Maps:
        """Divides; the scale 5e-5 is divided by the 9 squares (layer.py, NormLayerParser)."""
        return ops.spatial_response_norm(
            x, size=3, k=1.0, alpha=5e-5 / 9, beta=0.75, form=self.form
        )


class CudaConvNet(nn.Module):
    """Convolutions (5x5, pad 2), each with its pool and norm, then local and dense layers.

    The defaults are layers-19pct.cfg, 89,578 parameters; `CUDA_CONVNETS` has the others. Inputs are
    on the scale 0..255 without their mean. Initial biases are 0.

    Attributes:
      image_size: side of the input; 24 for crops.
      widths: maps of each convolution. local_widths: of each local layer after them.
      dense_width: units of a hidden dense layer (fc64), 0: none.
      pools: after each convolution, from POOLS; windows are 2 apart, and of 3x3 in the source.
      norms: of each convolution, from NORMS; the pool precedes the norm except for
        `across_before_pool`. Across maps: 9 neighbours, scale .001; within: 3x3, scale 5e-5.
      dropout: of the last hidden layer's outputs; 0 in 2011.
      stds: of the initial weights, layer by layer; None: He's sqrt(2 / fan-in).
      conv_form: the form of the convolutions (`ops.conv2d`) and, "plain" or fast, of the rest.
    """

    num_classes: int = 10
    image_size: int = 32
    channels: int = 3
    widths: tuple[int, ...] = (32, 32, 64)
    pools: tuple[str, ...] = ("max", "average", "average")
    norms: tuple[str, ...] = ("none", "none", "none")
    local_widths: tuple[int, ...] = ()
    dense_width: int = 0
    activation: Activation = "relu"
    dropout: float | Array = 0.0
    stds: tuple[float | None, ...] = (1e-4, 0.01, 0.01, 0.01)
    conv_form: ConvForm = "plain"
    dtype: Any = jnp.float32

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of an image."""
        return self.image_size, self.image_size, self.channels

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b classes"]:
        """Logits of images without their mean; the comments give sizes of 19pct and 13pct."""
        activation, stds = ACTIVATIONS[self.activation], iter(self.stds)
        maps: TowerMaps = [x]
        for n, width in enumerate(self.widths, 1):  # conv1: 32x32x32 | 24x24x64
            conv = layers.Conv(
                features=width,
                kernel_size=5,
                towers=1,
                std=next(stds),
                bias=0.0,
                activation=activation,
                padding=((2, 2), (2, 2)),
                form=self.conv_form,
                dtype=self.dtype,
                name=f"conv{n}",
            )
            maps = self._pool_and_norm(n, conv(maps))  # pool3: 4x4x64 | pool2: 6x6x64
        for n, width in enumerate(self.local_widths, len(self.widths) + 1):
            local = Local(
                features=width,
                std=next(stds),
                activation=activation,
                dtype=self.dtype,
                name=f"local{n}",
            )
            maps = local(maps)
        out = ops.flatten(maps[0])  # 1024 | 1152
        if self.dense_width:
            dense = layers.Dense(
                features=self.dense_width,
                towers=1,
                std=next(stds),
                bias=0.0,
                activation=activation,
                dtype=self.dtype,
                form=self.conv_form,
                name="fc64",
            )
            (out,) = dense(out)
        training = self.has_rng("dropout") and not self.is_initializing()
        key = self.make_rng("dropout") if training else None
        dropout = layers.Dropout(rate=self.dropout, form="inverted", name="drop")
        output = layers.Output(
            features=self.num_classes, std=next(stds), bias=0.0, dtype=self.dtype, name="fc10"
        )
        return output(dropout([out], key))

    def _pool_and_norm(self, n: int, maps: TowerMaps) -> TowerMaps:
        norm = self.norms[n - 1]
        if norm == "none":
            return self._pool(n, maps)
        if norm == "within":
            return WithinMapNorm(form=self.conv_form, name=f"rnorm{n}")(self._pool(n, maps))
        across = normalisation.ResponseNorm(
            size=9, k=1.0, alpha=0.001 / 9, beta=0.75, form=self.conv_form, name=f"rnorm{n}"
        )
        return across(self._pool(n, maps)) if norm == "across" else self._pool(n, across(maps))

    def _pool(self, n: int, maps: TowerMaps) -> TowerMaps:
        kind, name = self.pools[n - 1], f"pool{n}"
        if kind == "none":
            return maps
        if kind.startswith("average"):
            return AveragePool(size=POOLS[kind], name=name)(maps)
        pool = layers.MaxPool(size=POOLS[kind], stride=2, ceil=True, form=self.conv_form, name=name)
        return pool(maps)

    @nn.nowrap
    def check(self) -> None:
        """Raises UsageError if options do not fit each other."""
        count = len(self.widths) + len(self.local_widths) + bool(self.dense_width) + 1
        for key, given, wanted in (
            ("stds", self.stds, count),
            ("pools", self.pools, len(self.widths)),
            ("norms", self.norms, len(self.widths)),
        ):
            if len(given) != wanted:
                raise UsageError(f"model.{key} has {len(given)} values, the network needs {wanted}")
        for key, values, known in (
            ("pools", self.pools, POOLS),
            ("norms", self.norms, NORMS),
        ):
            for value in set(values) - set(known):
                raise UsageError(f"unknown model.{key} '{value}': {nearest(value, known)}")
