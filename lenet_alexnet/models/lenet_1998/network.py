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
    """What LeNet-5 and LeNet-1 share: the options that the paper leaves open, the forward pass.

    Attributes:
      init_scale, init_power: weights are uniform in +-scale / F**power, F = fan-in. The text
        (p. 41) says (2.4, 1). Departure: the default is (1.7, 0.5). With the paper's steps,
        (2.4, 1) does not train: signals and curvature vanish, every step is eta/mu, and the units
        saturate. With 1.7 (and the optimizer's `energy` 0.5), the first passes are closest to the
        paper's, in their errors and in the range of the steps.
      bias_init: "weights": uniform with the bound of the unit's weights, or "zero"; not for S2 and
        S4. Not in the paper; "zero" gave a higher validation error.
      bias_in_fan_in: whether F counts the bias. Not in the paper; no, as F counts inputs.
      coefficient_init: range of the S2/S4 coefficients, on the sum of four. Not in the paper; 0.25
        (low = high) would be the average. With 0.35 and the next option, the steps of the first
        pass have the paper's range; with 0.25 it begins too low. Validation errors are the same.
      subsampling_bias: S2/S4 biases are uniform in +-this. Not in the paper; 0.5 is 1/sqrt(4). With
        0 and 1.5, the validation error is higher.
      dtype: of the computation; parameters are always float32.
    """

    init_scale: float | Float[Array, ""] = 1.7
    init_power: float | Float[Array, ""] = 0.5
    bias_init: Literal["weights", "zero"] = "weights"
    bias_in_fan_in: bool = False
    coefficient_init: tuple[float, float] = (0.35, 0.35)
    subsampling_bias: float | Float[Array, ""] = 0.5
    dtype: Any = jnp.float32

    num_classes = 10  # the number of codes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the input."""
        raise NotImplementedError

    @property
    def initial(self) -> Initialisation:
        """The initialisation options, for the layers."""
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
        """The layers with parameters, from the input up, with the paper's names."""
        raise NotImplementedError

    @nn.nowrap
    def penalties(self, x: Float[Array, "B J"]) -> Float[Array, "B I"]:
        """The fixed top: states of the last layer with parameters -> one penalty a class."""
        raise NotImplementedError

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 1"]) -> Float[Array, "B I"]:
        """Normalised images (-0.1 background, 1.175 ink, p. 7) -> scores -y, y as in eq. 7.

        The predicted class is argmin y; the softmax of -y is eq. 9's posterior without e^-j.
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
    Departure: the paper centres 16x16 digits in the input; ours are 20x20, as in the files.
    """

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """28x28, as in the files."""
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
