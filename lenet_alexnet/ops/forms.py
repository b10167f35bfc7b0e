"""The forms in which a convolution can be computed."""

from typing import Literal, get_args

ConvForm = Literal["auto", "plain", "native", "block", "winograd", "products", "folded"]
CONV_FORMS: tuple[ConvForm, ...] = get_args(ConvForm)
Padding = tuple[tuple[int, int], tuple[int, int]]  # zeros at the (top, bottom) and (left, right)
NO_PADDING: Padding = ((0, 0), (0, 0))
