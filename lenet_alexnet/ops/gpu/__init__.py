"""Operations in the forms that are fast on GPUs."""

from lenet_alexnet.ops.gpu.pool import unstored_window_max, window_max

__all__ = ["unstored_window_max", "window_max"]
