"""The fully connected networks of LeCun et al. 1998, Fig. 9 (secs. III.C.1 and III.C.5-6)."""

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float

from lenet_alexnet.models.lenet_1998.layers import Dense1998, Layer, distances
from lenet_alexnet.models.lenet_1998.network import Network1998


class MLP1998(Network1998):
    """28x28 inputs, layers of hidden units, 10 outputs: 28x28-300-10 has `hidden` = (300,).

    Without hidden units, (), it is the linear classifier with 7,850 parameters: the activation of
    the outputs changes the loss, but not which output is the largest.
    """

    hidden: tuple[int, ...] = (300,)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """28x28, as in the files."""
        return 28, 28, 1

    @nn.nowrap
    def layers(self) -> list[Layer]:
        """H1, H2 ... and the ten output units."""
        widths = (28 * 28, *self.hidden, 10)
        names = [*(f"H{i}" for i in range(1, len(widths) - 1)), "output"]
        return [
            Dense1998(inputs, units, self.initial, name=name)
            for inputs, units, name in zip(widths, widths[1:], names, strict=False)
        ]

    @nn.nowrap
    def penalties(self, x: Float[Array, "B 10"]) -> Float[Array, "B 10"]:
        """Squared distances to each class's target outputs, +1 for the class and -1 elsewhere."""
        return distances(x, 2.0 * np.eye(10) - 1.0)
