"""Reads the blobs of a .caffemodel and of a mean file (caffe.proto).

Names are LAYER.NUMBER: conv1.0 are the weights, conv1.1 the biases. Convolutions are [outputs,
inputs of a group, height, width], dense layers [outputs, inputs]; images are BGR.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from lenet_alexnet.weights import protobuf
from lenet_alexnet.weights.protobuf import Field
from lenet_alexnet.weights.weight_file import Unreadable

V1_LAYERS, LAYERS = 2, 100  # of NetParameter


class Numbers(NamedTuple):
    """The numbers of a layer's fields."""

    name: int
    blobs: int


V1, V2 = Numbers(name=4, blobs=6), Numbers(name=1, blobs=7)
V0_LAYER = 1  # of V1LayerParameter: a layer of the format before
LEGACY_SIDES = (1, 2, 3, 4)  # of BlobProto: num, channels, height, width
DATA, SHAPE, DOUBLE_DATA, DIM = 5, 7, 8, 1


def read(content: bytes) -> tuple[dict[str, np.ndarray], list[str]]:
    """The blobs by LAYER.NUMBER, and the names of all layers in order.

    Raises:
      Unreadable: damaged, or of Caffe's first format.
    """
    arrays: dict[str, np.ndarray] = {}
    layers: list[str] = []
    for field in protobuf.fields(memoryview(content)):
        if field.number in (V1_LAYERS, LAYERS) and field.wire == protobuf.BYTES:
            name, blobs = _layer(field.content, V1 if field.number == V1_LAYERS else V2)
            layers.append(name)
            arrays |= {f"{name}.{i}": blob for i, blob in enumerate(blobs)}
    return arrays, layers


def read_mean(content: bytes) -> Float32[np.ndarray, "h w 3"]:
    """The mean image of a .binaryproto file, RGB, on the scale 0..255."""
    mean = _blob(memoryview(content), squeeze=False)
    if mean.ndim == 4 and len(mean) == 1:
        mean = mean[0]
    if mean.ndim != 3 or mean.shape[0] != 3 or not np.isfinite(mean).all():
        raise Unreadable(f"its mean of {mean.shape} is no image of three colours")
    return np.ascontiguousarray(mean[::-1].transpose(1, 2, 0), np.float32)


def _layer(message: memoryview, numbers: Numbers) -> tuple[str, list[np.ndarray]]:
    name, blobs = "", []
    for field in protobuf.fields(message):
        if field.wire != protobuf.BYTES:
            continue
        if field.number == numbers.name:
            name = bytes(field.content).decode(errors="replace")
        elif field.number == numbers.blobs:
            blobs.append(_blob(field.content))
        elif field.number == V0_LAYER and numbers is V1:
            raise Unreadable("it has Caffe's first format: run upgrade_net_proto_binary on it")
    return name, blobs


def _blob(message: memoryview, *, squeeze: bool = True) -> np.ndarray:
    """A BlobProto as float32; `squeeze`: its legacy shape loses the leading ones."""
    parts: list[np.ndarray] = []
    legacy, shape = dict.fromkeys(LEGACY_SIDES, 1), None
    for field in protobuf.fields(message):
        if field.number in legacy and field.wire == protobuf.VARINT:
            legacy[field.number] = field.varint
        elif field.number == SHAPE and field.wire == protobuf.BYTES:
            shape = _dims(field.content)
        elif field.number in (DATA, DOUBLE_DATA) and field.wire != protobuf.VARINT:
            parts.append(_numbers(field))
    values = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.float32), *parts])
    if shape is None:
        shape = list(legacy.values())
        while squeeze and len(shape) > 1 and shape[0] == 1:
            shape = shape[1:]
    if not values.size or math.prod(shape) != len(values):
        raise Unreadable(f"a blob of {tuple(shape)} has {len(values):,} numbers: it is damaged")
    return values.reshape(shape)


def _numbers(field: Field) -> np.ndarray:
    dtype = np.dtype("<f4" if field.number == DATA else "<f8")
    if len(field.content) % dtype.itemsize:
        raise Unreadable("it is truncated or damaged")
    return np.frombuffer(field.content, dtype).astype(np.float32, copy=False)


def _dims(message: memoryview) -> list[int]:
    found: list[int] = []
    for field in protobuf.fields(message):
        if field.number == DIM and field.wire == protobuf.VARINT:
            found.append(field.varint)
        elif field.number == DIM and field.wire == protobuf.BYTES:  # packed
            at = 0
            while at < len(field.content):
                value, at = protobuf.varint(field.content, at)
                found.append(value)
    return found
