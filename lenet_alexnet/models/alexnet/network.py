"""AlexNet (Krizhevsky, Sutskever, Hinton 2012), layer by layer, and its relatives by switches."""

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet import ops
from lenet_alexnet.errors import UsageError
from lenet_alexnet.models.alexnet import layers
from lenet_alexnet.models.alexnet.axes import Axes, TowerMaps, Towers
from lenet_alexnet.models.lenet import ACTIVATIONS, Activation
from lenet_alexnet.ops import ConvForm, Maps

Part = Literal["all", "convolutions", "dense"]
LRN = {  # k, alpha on the sum of squares, beta (size 5 in all of them)
    "paper": (2.0, 1e-4, 0.75),  # sec. 3.3
    "source": (2.0, 1e-4 / 5, 0.75),  # layers-145.cfg: minDiv 2, scale divided by the size
    "caffe": (1.0, 1e-4 / 5, 0.75),  # across the towers' border
}


class AlexNet(nn.Module):
    """Five convolutions, three dense layers: 60,965,224 parameters at 1,000 classes.

    The defaults are the paper's net; `alexnet_variants.py` has the others. Widths are those of all
    towers together; `stds` and `biases` are the initial values of conv1 .. conv5, fc6, fc7, fc8.
    `conv_form` is the form of the convolutions (`ops.conv2d`); but with "plain" pooling,
    normalisation and dense layers have gradients by hand, too.
    """

    num_classes: int = 1000
    image_size: int = 224
    channels: int = 3
    towers: int = 2
    widths: tuple[int, ...] = (96, 256, 384, 384, 256)
    dense_width: int = 4096
    conv6: bool = False  # "an extra sixth convolutional layer over the last pooling layer"
    conv1_padding: int | None = None  # None: as the source, zeros at the right and bottom
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
    dtype: Any = jnp.float32

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of an image: 224x224x3, or 227x227x3; both give 55x55 maps."""
        return self.image_size, self.image_size, self.channels

    @nn.compact
    def __call__(
        self, x: Float[Array, "b ..."], *, part: Part = "all", position: Array | None = None
    ) -> Float[Array, "b out"]:
        """Logits of images without their mean.

        Args:
          x: images [b, h, w, c]; for the dense part alone fc6's inputs.
          part: "convolutions" gives fc6's inputs, flat; "dense" takes them.
          position: of the images in the batch, if they are not in their order: it is what dropout
            is drawn by.
        """
        if part != "dense":
            x = self._convolutions(x)
        if part == "convolutions":
            return x
        training = self.has_rng("dropout") and not self.is_initializing()
        key = self.make_rng("dropout") if training else None
        out = self._in_turns(x, key) if self.axes.turns else self._head(x, key, position)
        return out.astype(jnp.float32)

    def _convolutions(self, x: Float[Array, "b h w c"]) -> Float[Array, "b n"]:
        """fc6's inputs; the comments give sizes for 224 pixels."""
        overlapping = self.pool == "3/2"  # layers-147.cfg pads conv2 and conv5 less for 2/2
        y = self._block(1, x, kernel=11, stride=4, pad=self._conv1_pad())  # pool1: 27x27x96
        y = self._block(2, y, kernel=5, pad=2 if overlapping else 1)  # pool2: 13x13x256
        y = self._conv(
            3, self.axes.meet_maps(y), kernel=3, pad=1
        )  # conv3: 13x13x384, sees both towers
        y = self._conv(4, y, kernel=3, pad=1)  # conv4: 13x13x384
        y = self._conv(5, y, kernel=3, pad=1 if overlapping else 0)  # conv5: 13x13x256
        y = self._pool(5, y)  # pool5: 6x6x256
        if self.conv6:
            y = self._conv(6, self.axes.meet_maps(y), kernel=3, pad=1)  # conv6: 6x6x256
        # fc6's inputs: by row, column and map, the first tower's maps before the second's.
        return ops.flatten(self.axes.meet_maps(y))  # 9216

    def _head(self, flat: Array, key: Array | None, position: Array | None) -> Array:
        """The dense layers, with dropout if there is a key for it."""
        flat = self.axes.gather_batch(flat)
        late = self.dropout_place == "after"  # torchvision drops the inputs of fc6 and fc7
        if not late:
            axes = Axes() if self.axes.dense else self.axes
            flat = self._drop(6, [flat], axes, key, position)[0]
        y = self._dense(6, flat)  # fc6: 4096
        y = self._drop(6 if late else 7, y, self.axes, key, position)
        y = self._dense(7, self.axes.meet_units(self.axes.gather_units(y)))  # fc7: 4096
        if late:
            y = self._drop(7, y, self.axes, key, position)
        return layers.Output(
            self.num_classes, self.stds[7], self.biases[7], self.axes, self.dtype, name="fc8"
        )(y)  # fc8: 1000

    def _in_turns(self, flat: Array, key: Array | None) -> Array:
        """The dense layers on one part after another of every device's rows.

        Where a device's b rows meet those of K - 1 others, K b rows are at work at once; here it is
        b, K times over, and one turn's exchange can go on while the turn before is computed.
        """
        shards, rows = self.axes.dense_shards(), len(flat)
        part = rows // shards

        def turn(module: "AlexNet", carry: None, i_and_rows: Any) -> tuple[None, Array]:
            i, mine = i_and_rows
            start = rows * jnp.arange(shards)[:, None] + part * i
            return carry, module._head(mine, key, (start + jnp.arange(part)).reshape(-1))

        # Unrolled, so that the compiler sees what can go on at the same time.
        turns = nn.scan(
            turn, variable_broadcast="params", split_rngs={"params": False}, unroll=shards
        )
        _, out = turns(self, None, (jnp.arange(shards), flat.reshape(shards, part, -1)))
        return out.reshape(rows, -1)

    @nn.nowrap
    def check(self) -> None:
        """Raises UsageError if a switch is out of its range, or nothing is left for fc6."""
        for key, values, count in (("stds", self.stds, 8), ("biases", self.biases, 8),
                                   ("widths", self.widths, 5)):  # fmt: skip
            numbers = isinstance(values, tuple) and all(
                v is None or isinstance(v, int | float) for v in values
            )
            if not numbers or len(values) != count:
                raise UsageError(f"model.{key} {values!r} is no list of {count} numbers")
        if self.towers not in (1, 2):
            raise UsageError(f"model.towers {self.towers} is neither 1 nor 2")
        if any(width % self.towers for width in (*self.widths, self.dense_width)):
            raise UsageError(f"model.widths {self.widths} are not all even, for two towers")
        if isinstance(self.dropout, int | float) and not 0 <= self.dropout < 1:
            raise UsageError(f"model.dropout {self.dropout} is not within 0..1")
        if self.num_classes < 1:
            raise UsageError(f"model.num_classes {self.num_classes} is not at least 1")
        if not self._fits(self.image_size):
            smallest = next(n for n in range(11, 300) if self._fits(n))
            raise UsageError(
                f"model.image_size {self.image_size} does not fit the pooling pyramid: the "
                f"smallest that does is {smallest}"
            )

    def _fits(self, image_size: int) -> bool:
        return sides(image_size, self.pool, self.conv1_padding)[-1] >= 1

    def _conv1_pad(self) -> tuple[int, int]:
        """Zeros before and after: 224 gives (0, 3), as far as the last filter reaches; 227 none."""
        if self.conv1_padding is not None:
            return self.conv1_padding, self.conv1_padding
        return 0, -(self.image_size - 11) % 4

    def _conv(
        self, n: int, x: TowerMaps | Maps, *, kernel: int, pad: int | tuple[int, int],
        stride: int = 1, relu: bool = True,
    ) -> TowerMaps:  # fmt: skip
        act = ACTIVATIONS[self.activation]
        std, bias, width = (
            (0.03, 1.0, self.widths[4])  # layers-146-2011.cfg
            if n == 6
            else (self.stds[n - 1], self.biases[n - 1], self.widths[n - 1])
        )
        before, after = pad if isinstance(pad, tuple) else (pad, pad)
        maps = layers.Conv(
            width, kernel, self.towers, std, None if self.batch_norm else bias,
            act if relu and not self.batch_norm else layers.identity, stride,
            ((before, after), (before, after)), self.conv_form, self.axes, self.dtype,
            name=f"conv{n}",
        )(x)  # fmt: skip
        if self.batch_norm:
            maps = jax.tree.map(act, layers.BatchNorm(self.axes, name=f"bn{n}")(maps))
        return maps

    def _block(self, n: int, x: TowerMaps | Maps, **conv: Any) -> TowerMaps:
        """Convolution, activation, normalisation and pooling, in the variant's order."""
        norm = self._norm(n)
        late_relu = n == 1 and self.lrn_place == "first_before_relu"
        x = self._conv(n, x, relu=not late_relu, **conv)
        if self.lrn_place == "after_pool":
            return norm(self._pool(n, x))
        x = self._pool(n, norm(x))
        return jax.tree.map(ACTIVATIONS[self.activation], x) if late_relu else x

    def _norm(self, n: int) -> Callable[[TowerMaps], TowerMaps]:
        if self.lrn == "none":
            return lambda x: x
        if self.lrn == "caffe" and self.axes.tower:
            raise UsageError("lrn 'caffe' crosses the towers' border: it has no mode 'tower'")
        k, alpha, beta = LRN[self.lrn]
        kind = layers.CrossTowerNorm if self.lrn == "caffe" else layers.ResponseNorm
        norm = kind(5, k, alpha, beta, form=self.conv_form, name=f"norm{n}")
        if n == 2 and self.spatial_norm:
            spatial = layers.SpatialNorm(form=self.conv_form, name="cnorm2")
            return lambda x: spatial(norm(x))
        return norm

    def _pool(self, n: int, x: TowerMaps) -> TowerMaps:
        size = int(self.pool[0])
        return layers.MaxPool(size, 2, ceil=size == 2, form=self.conv_form, name=f"pool{n}")(x)

    def _dense(self, n: int, x: Array) -> Towers:
        return layers.Dense(
            self.dense_width, self.towers, self.stds[n - 1], self.biases[n - 1],
            ACTIVATIONS[self.activation], self.axes, self.dtype, self.conv_form, name=f"fc{n}",
        )(x)  # fmt: skip

    def _drop(
        self, n: int, x: Towers, axes: Axes, key: Array | None, position: Array | None
    ) -> Towers:
        dropout = layers.Dropout(self.dropout, self.dropout_form, axes, name=f"drop{n}")
        return dropout(x, None if key is None else jax.random.fold_in(key, n), position)


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
