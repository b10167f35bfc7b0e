"""Writes a plan as an ONNX graph: the standard's own Conv, LRN, MaxPool and Gemm.

No kept library is used: those that convert JAX translate one primitive after another, so that a
max pooling becomes slices and comparisons, which other programs do not run fast.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lenet_alexnet.errors import DataError
from lenet_alexnet.exchange import plan as plans
from lenet_alexnet.exchange.plan import Plan
from lenet_alexnet.exchange.preparation import Preparation
from lenet_alexnet.models.layers import AMPLITUDE, SLOPE
from lenet_alexnet.runtime import storage

OPSET, IR_VERSION = 17, 8  # of 2022: old runtimes read them, too
IMAGES, LOGITS = "images", "logits"


def write(
    path: Path, plan: Plan, shape: tuple[int, ...], preparation: Preparation | None, classes: int
) -> None:
    """Writes an ONNX file: images [b, h, w, c] -> logits [b, classes], for any b.

    Args:
      path: of the file.
      plan: the network.
      shape: of an image: (h, w, c).
      preparation: what is done to bytes first; None: the images are normalised floats.
      classes: the number of outputs.

    Raises:
      DataError: it cannot be written.
    """
    graph = _Graph()
    x = IMAGES if preparation is None else graph.prepare(IMAGES, preparation)
    x = graph.node("Transpose", [x], perm=[0, 3, 1, 2])
    for operation in plan:
        x = graph.add(operation, x)
    graph.nodes.append(helper.make_node("Identity", [x], [LOGITS]))
    kind = TensorProto.FLOAT if preparation is None else TensorProto.UINT8
    inputs = [helper.make_tensor_value_info(IMAGES, kind, ["b", *shape])]
    outputs = [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["b", classes])]
    made = helper.make_graph(graph.nodes, "lenet_alexnet", inputs, outputs, graph.constants)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    model.producer_name = "lenet_alexnet"
    onnx.checker.check_model(model)
    try:
        with storage.written_whole(path, "wb") as file:
            file.write(model.SerializeToString())
    except OSError as error:
        raise DataError(f"cannot write '{path}': {error.strerror or error}") from error


class _Graph:
    """The nodes and constants so far; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Adds a node."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Adds a constant."""
        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def prepare(self, x: str, preparation: Preparation) -> str:
        """Bytes [b, h, w, c] -> normalised images."""
        start, size = preparation.start, preparation.size
        if preparation.pad:
            edge = preparation.pad
            x = self.node("Cast", [x], to=TensorProto.FLOAT)
            x = self.node("Pad", [x, self.constant([0, edge, edge, 0] * 2, np.int64)])
        else:
            places = [[start, start], [start + size, start + size], [1, 2]]
            x = self.node("Slice", [x, *(self.constant(p, np.int64) for p in places)])
            x = self.node("Cast", [x], to=TensorProto.FLOAT)
        x = self.node("Mul", [x, self.constant(preparation.factor)])
        return self.node("Add", [x, self.constant(preparation.shift)])

    def add(self, operation: plans.Operation, x: str) -> str:
        """Adds an operation of a plan."""
        match operation:
            case plans.Conv():
                before, after = operation.pads
                stride, constants = operation.stride, (operation.weights, operation.bias)
                return self.node(
                    "Conv",
                    [x, *map(self.constant, constants)],
                    strides=[stride, stride],
                    pads=[before, before, after, after],
                    group=operation.groups,
                )
            case plans.Dense():
                constants = (operation.weights, operation.bias)
                return self.node("Gemm", [x, *map(self.constant, constants)], transB=1)
            case plans.Scale():
                # One number, or one of each map [b, c, h, w].
                shape = (-1, 1, 1) if len(operation.factor) > 1 else (1,)
                x = self.node("Mul", [x, self.constant(operation.factor.reshape(shape))])
                return self.node("Add", [x, self.constant(operation.shift.reshape(shape))])
            case plans.Norm():
                return self._norm(operation, x)
            case plans.SpatialNorm():
                return self._spatial_norm(operation, x)
            case plans.MaxPool():
                sides = {"kernel_shape": [operation.size] * 2, "strides": [2, 2]}
                return self.node("MaxPool", [x], ceil_mode=int(operation.ceil), **sides)
            case plans.AveragePool():
                return self.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
            case plans.Flatten():
                return self.node("Flatten", [x], axis=1)
            case plans.Activation():
                return self._activation(operation.name, x)
            case plans.Distances():
                x = self.node("Unsqueeze", [x, self.constant([1], np.int64)])
                x = self.node("Sub", [x, self.constant(operation.codes)])
                x = self.node("ReduceSumSquare", [x], axes=[2], keepdims=0)
                return self.node("Neg", [x])

    def _norm(self, norm: plans.Norm, x: str) -> str:
        # ONNX divides alpha by the size of the window.
        options = {
            "size": norm.size,
            "alpha": norm.alpha * norm.size,
            "beta": norm.beta,
            "bias": norm.k,
        }
        if norm.groups == 1:
            return self.node("LRN", [x], **options)
        halves = [f"Split_{len(self.nodes)}_{i}" for i in range(norm.groups)]
        self.nodes.append(helper.make_node("Split", [x], halves, axis=1))
        return self.node("Concat", [self.node("LRN", [h], **options) for h in halves], axis=1)

    def _spatial_norm(self, norm: plans.SpatialNorm, x: str) -> str:
        size, squares = norm.size, self.node("Mul", [x, x])
        means = self.node(
            "AveragePool",
            [squares],
            kernel_shape=[size] * 2,
            pads=[size // 2] * 4,
            count_include_pad=1,
        )
        sums = self.node("Mul", [means, self.constant(norm.alpha * size**2)])
        divisor = self.node("Add", [sums, self.constant(norm.k)])
        return self.node("Div", [x, self.node("Pow", [divisor, self.constant(norm.beta)])])

    def _activation(self, name: str, x: str) -> str:
        if name == "scaled_tanh":
            x = self.node("Tanh", [self.node("Mul", [x, self.constant(SLOPE)])])
            return self.node("Mul", [x, self.constant(AMPLITUDE)])
        return self.node({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[name], [x])
