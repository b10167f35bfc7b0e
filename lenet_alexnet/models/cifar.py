"""A small convolutional net for CIFAR-10, in which each of AlexNet's changes is one switch.

By default three convolutions and a softmax layer: four layers of weights, like the net of Fig. 1
(Krizhevsky et al. 2012, sec. 3.1). The paper does not give its sizes.
"""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet import ops
from lenet_alexnet.models.alexnet import layers, normalisation
from lenet_alexnet.models.alexnet.axes import TowerMaps
from lenet_alexnet.models.lenet import ACTIVATIONS, Activation
from lenet_alexnet.ops import ConvForm, Maps


class AveragePool(layers.Plain):
    """The mean of 2x2 windows; the side must be even."""

    def apply_to(self, x: Maps) -> Maps:
        """Averages."""
        return ops.average_pool(x, 2)


class ConvNet(nn.Module):
    """Convolutions that keep their maps' size, pooled after the first, the second and the last.

    As in AlexNet; two convolutions are pooled twice. With every activation, weights are initialised
    as in He et al. (2015), biases at 0.

    Attributes:
      widths: maps of each convolution.
      kernel_size: of all of them; odd.
      dense_width: units of a hidden layer before the last, 0: none.
      pooling: average or 2/2: of 2x2 windows; 3/2: of overlapping 3x3 ones; all halve the side.
      response_norm: alpha of normalisation after the first two convolutions (sec. 3.3: 1e-4, with
        k = 2, 5 maps, beta = 0.75, for inputs on the scale 0..255); 0: none.
      dropout: of the softmax layer's inputs (the hidden layer's units, if there is one).
      output_std: of the softmax layer's initial weights; None: as in the other layers.
      conv_form: the form of the convolutions (`ops.conv2d`) and, "plain" or fast, of the rest.
    """

    num_classes: int = 10
    image_size: int = 24
    channels: int = 3
    widths: tuple[int, ...] = (8, 16, 32)
    kernel_size: int = 3
    dense_width: int = 0
    activation: Activation = "relu"
    pooling: Literal["average", "2/2", "3/2"] = "2/2"
    response_norm: float = 0.0
    dropout: float | Array = 0.0
    output_std: float | None = None
    conv_form: ConvForm = "plain"
    dtype: Any = jnp.float32

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of an image."""
        return self.image_size, self.image_size, self.channels

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b classes"]:
        """Logits of normalised images; the comments give the default's sizes."""
        activation, pad = ACTIVATIONS[self.activation], self.kernel_size // 2
        maps: TowerMaps = [x]
        for n, width in enumerate(self.widths, 1):  # conv1: 24x24x8, conv2: 12x12x16, conv3: 6x6x32
            conv = layers.Conv(
                features=width,
                kernel_size=self.kernel_size,
                towers=1,
                std=None,
                bias=0.0,
                activation=activation,
                padding=((pad, pad), (pad, pad)),
                form=self.conv_form,
                dtype=self.dtype,
                name=f"conv{n}",
            )
            maps = conv(maps)
            if n <= 2 and self.response_norm:
                norm = normalisation.ResponseNorm(
                    alpha=self.response_norm, form=self.conv_form, name=f"norm{n}"
                )
                maps = norm(maps)
            if n <= 2 or n == len(self.widths):
                maps = self._pool(n, maps)  # pool1: 12x12x8, pool2: 6x6x16, pool3: 3x3x32
        out = ops.flatten(maps[0])  # 288
        if self.dense_width:
            dense = layers.Dense(
                features=self.dense_width,
                towers=1,
                std=None,
                bias=0.0,
                activation=activation,
                dtype=self.dtype,
                form=self.conv_form,
                name="dense",
            )
            (out,) = dense(out)
        training = self.has_rng("dropout") and not self.is_initializing()
        key = self.make_rng("dropout") if training else None
        dropout = layers.Dropout(rate=self.dropout, form="inverted", name="drop")
        output = layers.Output(
            features=self.num_classes,
            std=self.output_std,
            bias=0.0,
            dtype=self.dtype,
            name="output",
        )
        return output(dropout([out], key))

    def _pool(self, n: int, maps: TowerMaps) -> TowerMaps:
        if self.pooling == "average":
            return AveragePool(name=f"pool{n}")(maps)
        size = int(self.pooling[0])
        pool = layers.MaxPool(size=size, stride=2, ceil=True, form=self.conv_form, name=f"pool{n}")
        return pool(maps)
