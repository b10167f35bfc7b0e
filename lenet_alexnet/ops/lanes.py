"""Maps with 16 images as the innermost axis, and convolutions of them in C++ (`native/conv.cc`)."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LANES = 16  # kLanes of conv.cc


class Lanes(flax.struct.PyTreeNode):
    """Maps [b, h, w, c] as [b / 16, c, h, w, 16]; where 16 does not divide b, the rest is zeros."""

    data: Any
    batch: int = flax.struct.field(pytree_node=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the maps: b, h, w, c."""
        _, channels, height, width, _ = self.data.shape
        return self.batch, height, width, channels

    @classmethod
    def of(cls, x: Float[Array, "b h w c"]) -> "Lanes":
        """Maps in the usual order in this one."""
        batch, *sides = x.shape
        x = jnp.pad(x, ((0, -batch % LANES), (0, 0), (0, 0), (0, 0)))
        return cls(x.reshape(-1, LANES, *sides).transpose(0, 4, 2, 3, 1), batch)

    def nhwc(self) -> Array:
        """The maps as an array [b, h, w, c]."""
        _, height, width, channels = self.shape
        maps = self.data.transpose(0, 4, 2, 3, 1).reshape(-1, height, width, channels)
        return maps[: self.batch]

    def add(self, bias: Float[Array, " c"]) -> "Lanes":
        """The maps with each its own number added."""
        return self.replace(data=self.data + bias[:, None, None, None])

    def average(self, size: int) -> "Lanes":
        """The means of size x size neighbours; `size` divides height and width."""
        blocks, channels, height, width, _ = self.data.shape
        sides = (height // size, size, width // size, size)
        return self.replace(data=self.data.reshape(blocks, channels, *sides, LANES).mean((3, 5)))


def conv_lanes(x: Float[Array, "b h w c"] | Lanes, kernel: Float[Array, "k k c f"]) -> Lanes:
    """A convolution with stride 1 and no padding, computed in float32."""
    x = x if isinstance(x, Lanes) else Lanes.of(x)
    data, kernel = x.data.astype(jnp.float32), kernel.astype(jnp.float32)
    return x.replace(data=_conv(data, kernel).astype(x.data.dtype))


@jax.custom_vjp
def _conv(x: Float[Array, "n c h w 16"], kernel: Float[Array, "k k c f"]) -> Array:
    return _call(x, kernel, turned=False)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel), (x, kernel)


def _backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    out = jax.ShapeDtypeStruct(kernel.shape, jnp.float32)
    weights = jax.ffi.ffi_call("LenetAlexnetConvWeights", out, vmap_method="sequential")
    return _call(g, kernel, turned=True), weights(x, g)


_conv.defvjp(_forward, _backward)


def _call(x: Array, kernel: Array, *, turned: bool) -> Array:
    """The outputs; turned, the gradient of the inputs from that of the outputs."""
    size, _, inputs, outputs = kernel.shape
    more = size - 1 if turned else 1 - size
    blocks, _, height, width, _ = x.shape
    shape = (blocks, inputs if turned else outputs, height + more, width + more, LANES)
    call = jax.ffi.ffi_call(
        "LenetAlexnetConv", jax.ShapeDtypeStruct(shape, jnp.float32), vmap_method="sequential"
    )
    return call(x, kernel, turned=turned)
