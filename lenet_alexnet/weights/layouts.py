"""The layouts of AlexNet's weights: ours, TensorFlow's and torch's (Caffe's is torch's).

| | ours | TensorFlow | torch |
|---|---|---|---|
| convolution | [T, k, k, ci, co] | [k, k, ci, T co] | [T co, ci, k, k] |
| dense | [T, n, m] | [n, T m] | [T m, n] |
| output | [T, n, K] | [T n, K] | [K, T n] |

T are the towers: in the other layouts the first tower's maps or units come before the second's,
which makes towers the groups of a convolution. fc6's n inputs are in order of row, column and map
(ours, TensorFlow) or map, row and column (torch). Every change of layout only moves numbers.
"""

from typing import Literal

import numpy as np

Kind = Literal["conv", "dense", "output", "bias", "output bias"]
Shape = tuple[int, ...]


def kind_of(layer: str, last: str, parameter: str) -> Kind:
    """The kind of a layer's "kernel" or "bias"; `last` is the name of the output layer."""
    if parameter == "bias":
        return "output bias" if layer == last else "bias"
    if layer.startswith("conv"):
        return "conv"
    return "output" if layer == last else "dense"


def shape_elsewhere(kind: Kind, ours: Shape, *, torch: bool) -> Shape:
    """The shape that an array of ours has in TensorFlow's layout, or in torch's."""
    if kind == "conv":
        towers, rows, columns, inputs, outputs = ours
        shape: Shape = (rows, columns, inputs, towers * outputs)
        return (shape[3], shape[2], shape[0], shape[1]) if torch else shape
    if kind == "bias":
        return (ours[0] * ours[1],)
    if kind == "output bias":
        return ours
    towers, inputs, outputs = ours
    shape = (inputs, towers * outputs) if kind == "dense" else (towers * inputs, outputs)
    return shape[::-1] if torch else shape


def to_ours(kind: Kind, array: np.ndarray, towers: int) -> np.ndarray:
    """From TensorFlow's layout to ours."""
    if kind == "output bias":
        return array
    if kind == "output":
        return array.reshape(towers, -1, array.shape[-1])
    return np.moveaxis(array.reshape(*array.shape[:-1], towers, -1), -2, 0)


def from_ours(kind: Kind, array: np.ndarray) -> np.ndarray:
    """From our layout to TensorFlow's."""
    if kind == "output bias":
        return array
    if kind == "output":
        return array.reshape(-1, array.shape[-1])
    moved = np.moveaxis(array, 0, -2)
    return moved.reshape(*moved.shape[:-2], -1)


def from_torch(kind: Kind, array: np.ndarray, maps: int = 0) -> np.ndarray:
    """From torch's layout to TensorFlow's; `maps`: of the inputs, if these are maps (fc6)."""
    if kind == "conv":
        return array.transpose(2, 3, 1, 0)
    if kind in ("dense", "output"):
        if maps:
            units = array.reshape(len(array), maps, -1)  # place = row and column
            return units.transpose(2, 1, 0).reshape(-1, len(array))
        return array.T
    return array


def to_torch(kind: Kind, array: np.ndarray, maps: int = 0) -> np.ndarray:
    """From TensorFlow's layout to torch's; `maps`: see `from_torch`."""
    if kind == "conv":
        return array.transpose(3, 2, 0, 1)
    if kind in ("dense", "output"):
        if maps:
            units = array.reshape(-1, maps, array.shape[-1])
            return units.transpose(2, 1, 0).reshape(array.shape[-1], -1)
        return array.T
    return array
