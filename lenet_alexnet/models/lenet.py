"""LeNet-5 as it is taught today (LeCun et al. 1998, sec. II.B, simplified).

Departure: C3 sees all six maps of S2, S2 and S4 are plain averages, and the output is a softmax;
`lenet_1998/network.py` has the published net.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet import ops
from lenet_alexnet.models.layers import AveragePool, Conv, Dense, scaled_tanh
from lenet_alexnet.ops import ConvForm

Activation = Literal["sigmoid", "tanh", "scaled_tanh", "relu"]
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "scaled_tanh": scaled_tanh,
    "relu": jax.nn.relu,
}


class LeNet5(nn.Module):
    """C1 6@5x5, S2, C3 16@5x5, S4, C5 120, F6 84, output: 61,706 parameters for 10 classes.

    `conv_form` is the form of the convolutions (`ops.conv2d`).
    """

    num_classes: int = 10
    activation: Activation = "tanh"
    conv_form: ConvForm = "plain"
    dtype: Any = jnp.float32

    input_shape = (32, 32, 1)

    @nn.compact
    def __call__(self, x: Float[Array, "b 32 32 1"]) -> Float[Array, "b classes"]:
        """Logits of normalised images; the 28x28 digits are padded by 2 beforehand."""
        activation, dtype = ACTIVATIONS[self.activation], self.dtype
        conv = partial(Conv, kernel_size=5, activation=activation, form=self.conv_form, dtype=dtype)
        dense = partial(Dense, activation=activation, dtype=dtype)
        maps = conv(features=6, name="C1")(x)  # C1: 28x28x6
        maps = AveragePool(name="S2")(maps)  # S2: 14x14x6
        maps = conv(features=16, name="C3")(maps)  # C3: 10x10x16
        maps = AveragePool(name="S4")(maps)  # S4: 5x5x16
        x = ops.flatten(maps)
        x = dense(features=120, name="C5")(x)  # C5: 120
        x = dense(features=84, name="F6")(x)  # F6: 84
        x = Dense(features=self.num_classes, dtype=dtype, name="output")(x)  # output: 10
        return x.astype(jnp.float32)
