"""LeNet-5 and LeNet-1 as published (LeCun, Bottou, Bengio, Haffner 1998)."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lenet_alexnet.models.lenet_1998 import tables
from lenet_alexnet.models.lenet_1998.layers import (
    RBF,
    Convolution1998,
    Dense1998,
    Initialisation,
    Layer,
    Subsample,
    distances,
)


class Network1998(nn.Module):
    """What LeNet-5 and LeNet-1 share: options that the paper leaves open, the pass over the layers.

    Attributes:
      init_scale, init_power: weights are uniform in +-scale / F**power, F = fan-in. The text
        (p. 41) says (2.4, 1). Departure: the default is (1.7, 0.5). With the paper's own steps
        (2.4, 1) does not train: signals and curvature vanish, so that every step is eta/mu, and
        the units saturate. With 1.7 (and the optimizer's `energy` 0.5) the first passes are the
        most like the paper's, in their errors and in the range of the steps.
      bias_init: "weights" = uniform with the bound of the unit's weights, or "zero", but for S2 and
        S4. Not in the paper; "zero" ended higher on validation.
      bias_in_fan_in: whether F counts the bias. Not in the paper; no, as F is a matter of inputs.
      coefficient_init: range of the S2/S4 coefficients, on the sum of four. Not in the paper; 0.25
        (low = high) would be the average. With 0.35 and the next the steps of the first pass have
        the paper's range, which with 0.25 begins too low; the errors are the same on validation.
      subsampling_bias: S2/S4 biases are uniform in +-this. Not in the paper; 0.5 is 1/sqrt(4). On
        validation 0 and 1.5 end higher.
      dtype: in which the network computes; parameters are always float32.
    """

    init_scale: float | Float[Array, ""] = 1.7
    init_power: float | Float[Array, ""] = 0.5
    bias_init: Literal["weights", "zero"] = "weights"
    bias_in_fan_in: bool = False
    coefficient_init: tuple[float, float] = (0.35, 0.35)
    subsampling_bias: float | Float[Array, ""] = 0.5
    dtype: Any = jnp.float32

    num_classes = 10  # as many as there are codes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the input."""
        raise NotImplementedError

    @property
    def initial(self) -> Initialisation:
        """The initialisation options as the layers take them."""
        low, high = self.coefficient_init
        return Initialisation(
            self.init_scale,
            self.init_power,
            self.bias_init,
            self.bias_in_fan_in,
            (low, high),
            self.subsampling_bias,
        )

    @nn.nowrap
    def layers(self) -> list[Layer]:
        """The layers with parameters, from the input up, each under the paper's name."""
        raise NotImplementedError

    @nn.nowrap
    def penalties(self, x: Float[Array, "B J"]) -> Float[Array, "B I"]:
        """The fixed top: states of the last layer with parameters -> one penalty a class."""
        raise NotImplementedError

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 1"]) -> Float[Array, "B I"]:
        """Normalised images (-0.1 background, 1.175 ink, p. 7) -> scores -y, y as in eq. 7.

        The predicted class is argmin y; the softmax of -y is eq. 9's posterior but for e^-j.
        """
        x = jnp.moveaxis(x, -1, 1).astype(self.dtype)
        for layer in self.layers():
            x = layer(x)
        y = self.penalties(x)
        return -y.astype(jnp.promote_types(y.dtype, jnp.float32))


class LeNet5_1998(Network1998):
    """LeNet-5, sec. II.B: 60,000 trainable parameters, 340,908 connections. Input 32x32."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """32x32, "significantly larger than the largest character"."""
        return 32, 32, 1

    @nn.nowrap
    def layers(self) -> list[Layer]:
        """C1 to F6."""
        initial = self.initial
        return [
            Convolution1998(tables.full(1, 6), initial, name="C1"),  # 6@28x28
            Subsample(6, initial, name="S2"),  # 6@14x14
            Convolution1998(tables.C3_TABLE, initial, name="C3"),  # 16@10x10
            Subsample(16, initial, name="S4"),  # 16@5x5
            Convolution1998(tables.full(16, 120), initial, name="C5"),  # 120@1x1
            Dense1998(120, 84, initial, name="F6"),  # 84
        ]

    @nn.nowrap
    def penalties(self, x: Float[Array, "B 84"]) -> Float[Array, "B 10"]:
        """Distances to the 7x12 bitmaps of the ten digits."""
        return RBF(84, name="output")(x)  # 10


class LeNet1(Network1998):
    """LeNet-1, sec. III.C: 2,578 parameters, 98,442 connections. Input 28x28.

    The table of H3 has one source (see `LENET1_TABLE`).
    Departure: the paper centres 16x16 digits in the input; ours are the files' 20x20 digits.
    """

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """28x28, the files' own."""
        return 28, 28, 1

    @nn.nowrap
    def layers(self) -> list[Layer]:
        """H1 to the ten output units."""
        initial = self.initial
        return [
            Convolution1998(tables.full(1, 4), initial, name="H1"),  # 4@24x24
            Subsample(4, initial, name="H2"),  # 4@12x12
            Convolution1998(tables.LENET1_TABLE, initial, name="H3"),  # 12@8x8
            Subsample(12, initial, name="H4"),  # 12@4x4
            Dense1998(192, 10, initial, name="output"),  # 10
        ]

    @nn.nowrap
    def penalties(self, x: Float[Array, "B 10"]) -> Float[Array, "B 10"]:
        """Squared distances to each class's target outputs, +1 for the class and -1 elsewhere."""
        return distances(x, 2.0 * np.eye(10) - 1.0)
