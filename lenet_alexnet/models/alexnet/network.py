"""AlexNet (Krizhevsky, Sutskever, Hinton 2012), layer by layer, with switches for its relatives."""

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet import ops
from lenet_alexnet.errors import UsageError
from lenet_alexnet.models.alexnet import layers, normalisation
from lenet_alexnet.models.alexnet.axes import TowerMaps
from lenet_alexnet.models.alexnet.dense import dense_part
from lenet_alexnet.models.alexnet.options import AlexNetOptions
from lenet_alexnet.models.lenet import ACTIVATIONS
from lenet_alexnet.ops import Maps

Part = Literal["all", "convolutions", "dense"]
LRN = {  # k, alpha on the sum of squares, beta (size 5 in all of them)
    "paper": (2.0, 1e-4, 0.75),  # sec. 3.3
    "source": (2.0, 1e-4 / 5, 0.75),  # layers-145.cfg: minDiv 2, scale divided by the size
    "caffe": (1.0, 1e-4 / 5, 0.75),  # across the towers' border
}


class AlexNet(AlexNetOptions):
    """Five convolutions, three dense layers: 60,965,224 parameters at 1,000 classes."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "b ..."], *, part: Part = "all", position: Array | None = None
    ) -> Float[Array, "b out"]:
        """Logits of images without their mean.

        Args:
          x: images [b, h, w, c]; for part "dense", fc6's inputs.
          part: "convolutions" returns fc6's inputs, flat; "dense" takes them.
          position: of the images in the batch, if they are not in order; dropout depends on it.
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
        y = self._block(1, x, kernel=11, stride=4, pad=self.conv1_pad())  # pool1: 27x27x96
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
        return dense_part(self, flat, key, position)

    def _in_turns(self, flat: Array, key: Array | None) -> Array:
        """The dense layers on one part of every device's rows after another.

        Without turns, each device works on all K b rows of the K devices at once. Here it works on
        b rows, K times, and one turn's exchange can overlap with the turn before.
        """
        shards, rows = self.axes.dense_shards(), len(flat)
        part = rows // shards

        def turn(module: "AlexNet", carry: None, i_and_rows: Any) -> tuple[None, Array]:
            i, mine = i_and_rows
            start = rows * jnp.arange(shards)[:, None] + part * i
            return carry, module._head(mine, key, (start + jnp.arange(part)).reshape(-1))

        # Unrolled, so that the compiler can overlap the turns.
        turns = nn.scan(
            turn, variable_broadcast="params", split_rngs={"params": False}, unroll=shards
        )
        _, out = turns(self, None, (jnp.arange(shards), flat.reshape(shards, part, -1)))
        return out.reshape(rows, -1)

    @nn.nowrap
    def conv1_pad(self) -> tuple[int, int]:
        """Zeros before and after, up to the last filter's end: (0, 3) for 224, none for 227."""
        if self.conv1_padding is not None:
            return self.conv1_padding, self.conv1_padding
        return 0, -(self.image_size - 11) % 4

    def _conv(
        self,
        n: int,
        x: TowerMaps | Maps,
        *,
        kernel: int,
        pad: int | tuple[int, int],
        stride: int = 1,
        relu: bool = True,
    ) -> TowerMaps:
        act = ACTIVATIONS[self.activation]
        std, bias, width = (
            (0.03, 1.0, self.widths[4])  # layers-146-2011.cfg
            if n == 6
            else (self.stds[n - 1], self.biases[n - 1], self.widths[n - 1])
        )
        before, after = pad if isinstance(pad, tuple) else (pad, pad)
        conv = layers.Conv(
            features=width,
            kernel_size=kernel,
            towers=self.towers,
            std=std,
            bias=None if self.batch_norm else bias,
            activation=act if relu and not self.batch_norm else layers.identity,
            stride=stride,
            padding=((before, after), (before, after)),
            form=self.conv_form,
            axes=self.axes,
            dtype=self.dtype,
            name=f"conv{n}",
        )
        if not self.batch_norm:
            return conv(x)
        name = f"bn{n}"
        norm = normalisation.BatchNorm(
            form=self.conv_form, axes=self.axes, frozen=name in self.frozen, name=name
        )
        return [ops.activate(y, act) for y in norm(conv(x))]

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
        kind = normalisation.CrossTowerNorm if self.lrn == "caffe" else normalisation.ResponseNorm
        norm = kind(size=5, k=k, alpha=alpha, beta=beta, form=self.conv_form, name=f"norm{n}")
        if n == 2 and self.spatial_norm:
            spatial = normalisation.SpatialNorm(form=self.conv_form, name="cnorm2")
            return lambda x: spatial(norm(x))
        return norm

    def _pool(self, n: int, x: TowerMaps) -> TowerMaps:
        size = int(self.pool[0])
        pool = layers.MaxPool(
            size=size, stride=2, ceil=size == 2, form=self.conv_form, name=f"pool{n}"
        )
        return pool(x)
