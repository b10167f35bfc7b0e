"""Operations in the forms that are fast on GPUs."""

from lenet_alexnet.ops.gpu.pool import window_max

__all__ = ["window_max"]
