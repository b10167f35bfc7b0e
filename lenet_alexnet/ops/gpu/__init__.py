"""Operations in the forms that are fast on GPUs."""

from lenet_alexnet.ops.gpu.bias import add_bias, sums_apart
from lenet_alexnet.ops.gpu.pool import unstored_window_max, window_max

__all__ = ["add_bias", "sums_apart", "unstored_window_max", "window_max"]
