"""The switches between AlexNet and its relatives, and their checks."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from lenet_alexnet.errors import UsageError
from lenet_alexnet.models.alexnet.axes import Axes
from lenet_alexnet.models.lenet import Activation
from lenet_alexnet.ops import ConvForm


class AlexNetOptions(nn.Module):
    """The options of `AlexNet`.

    The defaults are the paper's net; `variants.py` has the others. Widths are those of all towers
    together; `stds` and `biases` are the initial values of conv1 .. conv5, fc6, fc7, fc8.
    Batch normalisation of the layers `frozen` uses its averages in training too.
    `conv_form` is the form of the convolutions (`ops.conv2d`); except with "plain", pooling,
    normalisation and dense layers also have gradients written by hand.
    """

    num_classes: int = 1000
    image_size: int = 224
    channels: int = 3
    towers: int = 2
    widths: tuple[int, ...] = (96, 256, 384, 384, 256)
    dense_width: int = 4096
    conv6: bool = False  # "an extra sixth convolutional layer over the last pooling layer"
    conv1_padding: int | None = None  # None: as in the source, zeros at the right and bottom
    activation: Activation = "relu"
    lrn: Literal["none", "paper", "source", "caffe"] = "paper"
    lrn_place: Literal["after_relu", "first_before_relu", "after_pool"] = "after_relu"
    spatial_norm: bool = False
    batch_norm: bool = False
    pool: Literal["3/2", "2/2"] = "3/2"
    dropout: float | Array = 0.5
    dropout_form: Literal["mask", "inverted"] = "mask"
    dropout_place: Literal["after", "before"] = "after"
    stds: tuple[float | None, ...] = (0.01,) * 8
    biases: tuple[float, ...] = (0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0)
    conv_form: ConvForm = "plain"
    axes: Axes = Axes()
    frozen: tuple[str, ...] = ()
    dtype: Any = jnp.float32

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of an image: 224x224x3, or 227x227x3; both give 55x55 maps."""
        return self.image_size, self.image_size, self.channels

    @nn.nowrap
    def check(self) -> None:
        """Raises UsageError if a switch is out of its range, or nothing is left for fc6."""
        for key, count in (("stds", 8), ("biases", 8), ("widths", 5)):
            values = getattr(self, key)
            numbers = isinstance(values, tuple) and all(
                v is None or isinstance(v, int | float) for v in values
            )
            if not numbers or len(values) != count:
                raise UsageError(f"model.{key} {values!r} is not a list of {count} numbers")
        if self.towers not in (1, 2):
            raise UsageError(f"model.towers {self.towers} is neither 1 nor 2")
        if any(width % self.towers for width in (*self.widths, self.dense_width)):
            raise UsageError(f"model.widths {self.widths} are not all even, as two towers need")
        if isinstance(self.dropout, int | float) and not 0 <= self.dropout < 1:
            raise UsageError(f"model.dropout {self.dropout} is not within 0..1")
        if self.num_classes < 1:
            raise UsageError(f"model.num_classes {self.num_classes} is not at least 1")
        if not self._fits(self.image_size):
            smallest = next(n for n in range(11, 300) if self._fits(n))
            raise UsageError(
                f"model.image_size {self.image_size} is too small for the pooling: the "
                f"smallest that fits is {smallest}"
            )

    def _fits(self, image_size: int) -> bool:
        return sides(image_size, self.pool, self.conv1_padding)[-1] >= 1


def sides(image_size: int, pool: str, conv1_padding: int | None) -> list[int]:
    """The sides of conv1's, pool1's, pool2's and pool5's maps."""
    if conv1_padding is None:
        side = 1 + -(-(image_size - 11) // 4)
    else:
        side = 1 + (image_size + 2 * conv1_padding - 11) // 4
    found = [side]
    for n in (1, 2, 5):
        unpadded = 0 if n == 1 else 2  # conv2 and conv5 shrink their maps before a 2/2 pool
        side = -(-(side - unpadded) // 2) if pool == "2/2" else (side - 3) // 2 + 1
        found.append(side)
    return found if min(found) >= 1 else [*found[:-1], 0]
