"""Operations with more than one form: the plain XLA form and one that is fast on a backend."""

from lenet_alexnet.ops.conv import conv2d, conv_bias
from lenet_alexnet.ops.folded import Folded, unfold
from lenet_alexnet.ops.norm import response_norm, spatial_response_norm
from lenet_alexnet.ops.pool import max_pool

__all__ = [
    "Folded",
    "conv2d",
    "conv_bias",
    "max_pool",
    "response_norm",
    "spatial_response_norm",
    "unfold",
]
