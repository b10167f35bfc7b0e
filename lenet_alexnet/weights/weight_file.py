"""What a reader of weights returns, and the error that it raises."""

from typing import Any, NamedTuple

import numpy as np


class Unreadable(Exception):
    """The file holds no usable weights; the message has the reason, without the file's name."""


class WeightFile(NamedTuple):
    """A file of weights.

    Attributes:
      path: of the file, for messages.
      format: torch | caffe | npz | npy | safetensors.
      arrays: by the file's own names, in its own layouts and types.
      metadata: caffe: "layers", the names of all layers in order; safetensors: as in the file,
        see `ours.write`; else empty.
    """

    path: str
    format: str
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]
