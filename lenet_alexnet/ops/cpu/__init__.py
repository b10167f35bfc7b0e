"""The forms that are fast on CPUs: one function for each operation.

They use other layouts of maps (`layouts.py`), convolutions as matrix products (`folded.py`,
`winograd.py`), and loops in C++ (`vectors.py`, `native/`).
"""

from lenet_alexnet.ops.cpu.conv import conv2d, fastest_form, fits
from lenet_alexnet.ops.cpu.dense import product_with_transposed
from lenet_alexnet.ops.cpu.pool import average_pool, max_pool

__all__ = ["average_pool", "conv2d", "fastest_form", "fits", "max_pool", "product_with_transposed"]
