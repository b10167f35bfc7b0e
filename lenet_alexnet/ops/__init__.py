"""Operations with more than one form: the plain XLA form and one that is fast on a backend."""

from lenet_alexnet.ops.conv import conv2d
from lenet_alexnet.ops.norm import response_norm, spatial_response_norm
from lenet_alexnet.ops.pool import max_pool

__all__ = ["conv2d", "max_pool", "response_norm", "spatial_response_norm"]
