"""Operations with more than one form: the plain one, and those that are fast on a backend.

The plain forms are ordinary JAX: they have derivatives of every kind and can be exported. The fast
ones are for training, see `fast.py`.
"""

from lenet_alexnet.ops.conv import CONV_FORMS, ConvForm, conv2d, conv_bias
from lenet_alexnet.ops.cpu.folded import Folded
from lenet_alexnet.ops.cpu.winograd import HWNC
from lenet_alexnet.ops.dense import dense
from lenet_alexnet.ops.layouts import ChannelsLast, Maps, channels_last, nhwc
from lenet_alexnet.ops.local import local_conv2d
from lenet_alexnet.ops.norm import response_norm, spatial_response_norm
from lenet_alexnet.ops.pool import average_pool, max_pool, overlapping_average_pool
from lenet_alexnet.ops.rows import place_rows

__all__ = [
    "CONV_FORMS",
    "HWNC",
    "ChannelsLast",
    "ConvForm",
    "Folded",
    "Maps",
    "average_pool",
    "channels_last",
    "conv2d",
    "conv_bias",
    "dense",
    "local_conv2d",
    "max_pool",
    "nhwc",
    "overlapping_average_pool",
    "place_rows",
    "response_norm",
    "spatial_response_norm",
]
