"""Operations in several forms: a plain one, and forms that are fast on a backend.

The plain forms are ordinary JAX: they have all derivatives and can be exported. The fast forms are
for training, see `fast.py`. They take and return `Maps`: feature maps in any of our layouts;
`x.shape` is always (b, h, w, c), and `nhwc` turns them into an array.
"""

from lenet_alexnet.ops.channels import (
    activate,
    channel_moments,
    concatenate_channels,
    flatten,
    gather_channels,
    scale_channels,
    split_channels,
)
from lenet_alexnet.ops.conv import conv2d, conv_bias
from lenet_alexnet.ops.dense import dense
from lenet_alexnet.ops.forms import CONV_FORMS, NO_PADDING, ConvForm, Padding
from lenet_alexnet.ops.layouts import Maps, nhwc
from lenet_alexnet.ops.local import local_conv2d
from lenet_alexnet.ops.norm import response_norm, spatial_response_norm
from lenet_alexnet.ops.pool import average_pool, max_pool, overlapping_average_pool
from lenet_alexnet.ops.rows import place_rows

__all__ = [
    "CONV_FORMS",
    "NO_PADDING",
    "ConvForm",
    "Maps",
    "Padding",
    "activate",
    "average_pool",
    "channel_moments",
    "concatenate_channels",
    "conv2d",
    "conv_bias",
    "dense",
    "flatten",
    "gather_channels",
    "local_conv2d",
    "max_pool",
    "nhwc",
    "overlapping_average_pool",
    "place_rows",
    "response_norm",
    "scale_channels",
    "spatial_response_norm",
    "split_channels",
]
