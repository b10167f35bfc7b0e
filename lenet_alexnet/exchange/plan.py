"""A network as a list of operations on [b, c, h, w] maps, which other programs have, too.

PyTorch (`in_torch.py`) and ONNX (`onnx_graph.py`) follow it; both are compared with the network.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from lenet_alexnet.errors import UsageError
from lenet_alexnet.models import Network1998
from lenet_alexnet.models.alexnet.network import LRN, AlexNet
from lenet_alexnet.models.alexnet.normalisation import BatchNorm
from lenet_alexnet.models.lenet import LeNet5
from lenet_alexnet.models.lenet_1998 import tables
from lenet_alexnet.models.lenet_1998.layers import Convolution1998, Dense1998, Subsample, spread
from lenet_alexnet.models.lenet_1998.network import LeNet5_1998
from lenet_alexnet.weights import layouts, names

Pads = tuple[int, int]  # before and after, of rows and of columns


class Conv(NamedTuple):
    """A convolution; weights [outputs, inputs of a group, k, k]."""

    weights: np.ndarray
    bias: np.ndarray
    stride: int = 1
    pads: Pads = (0, 0)
    groups: int = 1


class Dense(NamedTuple):
    """A fully connected layer on flat inputs in order of map, row, column; weights [m, n]."""

    weights: np.ndarray
    bias: np.ndarray


class Scale(NamedTuple):
    """Each map or unit times a factor, plus a shift; both have one number, or one per map."""

    factor: np.ndarray
    shift: np.ndarray


class Activation(NamedTuple):
    """relu, tanh, scaled_tanh or sigmoid."""

    name: str


class Norm(NamedTuple):
    """x / (k + alpha * sum of x^2 over `size` maps)^beta, within each of `groups`."""

    size: int
    k: float
    alpha: float
    beta: float
    groups: int


class SpatialNorm(NamedTuple):
    """The same over size x size neighbours in a map."""

    size: int
    k: float
    alpha: float
    beta: float


class MaxPool(NamedTuple):
    """The largest of each window, 2 apart; `ceil`: also of windows that reach over the edge."""

    size: int
    ceil: bool


class AveragePool(NamedTuple):
    """The mean of 2x2 windows."""


class Flatten(NamedTuple):
    """[b, c, h, w] -> [b, c h w]."""


class Distances(NamedTuple):
    """Minus the squared distances of the units to each of the codes [classes, n]."""

    codes: np.ndarray


Operation = (
    Conv | Dense | Scale | Activation | Norm | SpatialNorm | MaxPool | AveragePool | Flatten
    | Distances
)  # fmt: skip
Plan = list[Operation]


def make(model: nn.Module, variables: Any) -> Plan:
    """The operations of a network with its weights.

    Raises:
      UsageError: a network of layers that are not common.
    """
    if isinstance(model, AlexNet):
        return of_alexnet(model, alexnet_weights(model, variables))
    if isinstance(model, LeNet5):
        return _lenet5(model, variables["params"])
    if isinstance(model, Network1998):
        return _network_1998(model, variables["params"])
    raise UsageError(
        f"{type(model).__name__} has layers that ONNX lacks: --format=stablehlo has all"
    )


def alexnet_weights(model: AlexNet, variables: Any) -> dict[str, np.ndarray]:
    """AlexNet's weights in torch's layout, by LAYER.weight and LAYER.bias.

    Batch normalisation is a factor (weight) and a shift (bias) for each map.
    """
    params, found = variables["params"], {}
    maps = int(np.prod(params["conv5"]["kernel"].shape[::4]))  # T and co
    for layer, arrays in params.items():
        if layer.startswith("bn"):
            stats = variables["batch_stats"][layer]
            factor = arrays["scale"] / np.sqrt(np.asarray(stats["var"]) + BatchNorm.epsilon)
            found[f"{layer}.weight"] = np.asarray(factor).reshape(-1)
            found[f"{layer}.bias"] = np.asarray(arrays["bias"] - stats["mean"] * factor).reshape(-1)
            continue
        for parameter, name in (("kernel", "weight"), ("bias", "bias")):
            if parameter in arrays:
                kind = layouts.kind_of(layer, names.LAST, parameter)
                array = layouts.from_ours(kind, np.asarray(arrays[parameter]))
                found[f"{layer}.{name}"] = layouts.to_torch(
                    kind, array, maps if layer == names.FLAT else 0
                )
    return found


def of_alexnet(model: AlexNet, weights: Mapping[str, np.ndarray]) -> Plan:
    """AlexNet's operations with weights by LAYER.weight and LAYER.bias, see `alexnet_weights`."""
    overlapping, act = model.pool == "3/2", Activation(model.activation)
    pool = MaxPool(int(model.pool[0]), ceil=not overlapping)

    def conv(n: int, *, grouped: bool, pads: Pads, stride: int = 1) -> Plan:
        kernel = weights[f"conv{n}.weight"]
        bias = weights.get(f"conv{n}.bias", np.zeros(len(kernel), np.float32))
        found: Plan = [Conv(kernel, bias, stride, pads, model.towers if grouped else 1)]
        if model.batch_norm:
            found.append(Scale(weights[f"bn{n}.weight"], weights[f"bn{n}.bias"]))
        return found

    def block(n: int, convolution: Plan) -> Plan:
        norm = _norms(model, n)
        if n == 1 and model.lrn_place == "first_before_relu":
            return [*convolution, *norm, pool, act]
        if model.lrn_place == "after_pool":
            return [*convolution, act, pool, *norm]
        return [*convolution, act, *norm, pool]

    small, last = (2, 1) if overlapping else (1, 0)
    plan = block(1, conv(1, grouped=False, pads=model.conv1_pad(), stride=4))
    plan += block(2, conv(2, grouped=True, pads=(small, small)))
    plan += [*conv(3, grouped=False, pads=(1, 1)), act, *conv(4, grouped=True, pads=(1, 1)), act]
    plan += [*conv(5, grouped=True, pads=(last, last)), act, pool]
    if model.conv6:
        plan += [*conv(6, grouped=False, pads=(1, 1)), act]
    fc6, fc7, fc8 = (Dense(weights[f"fc{n}.weight"], weights[f"fc{n}.bias"]) for n in (6, 7, 8))
    # In testing, the dropout of 2012 multiplies by the share that is kept.
    keep = np.array([1.0 - float(model.dropout)], np.float32)
    drop = [Scale(keep, np.zeros(1, np.float32))] if model.dropout_form == "mask" else []
    if model.dropout_place == "before":
        return [*plan, Flatten(), *drop, fc6, act, *drop, fc7, act, fc8]
    return [*plan, Flatten(), fc6, act, *drop, fc7, act, *drop, fc8]


def _norms(model: AlexNet, n: int) -> Plan:
    if model.lrn == "none":
        return []
    k, alpha, beta = LRN[model.lrn]
    found: Plan = [Norm(5, k, alpha, beta, 1 if model.lrn == "caffe" else model.towers)]
    if n == 2 and model.spatial_norm:
        found.append(SpatialNorm(5, 1.0, 0.001 / 25, 0.75))
    return found


def _lenet5(model: LeNet5, params: Any) -> Plan:
    act = Activation(model.activation)

    def conv(name: str) -> Conv:
        kernel, bias = (np.asarray(params[name][key]) for key in ("kernel", "bias"))
        return Conv(layouts.to_torch("conv", kernel), bias)

    def dense(name: str, maps: int = 0) -> Dense:
        kernel, bias = (np.asarray(params[name][key]) for key in ("kernel", "bias"))
        return Dense(layouts.to_torch("dense", kernel, maps), bias)

    convolutions: Plan = [conv("C1"), act, AveragePool(), conv("C3"), act, AveragePool(), Flatten()]
    return [*convolutions, dense("C5", maps=16), act, dense("F6"), act, dense("output")]


def _network_1998(model: Network1998, params: Any) -> Plan:
    act, flat = Activation("scaled_tanh"), False
    plan: Plan = []
    for layer in model.layers():
        arrays = {key: np.asarray(value) for key, value in params[layer.name].items()}
        if isinstance(layer, Convolution1998):
            size, (inputs, outputs) = layer.size, np.array(layer.table).shape
            kernels = arrays["kernel"].reshape(len(arrays["kernel"]), -1)
            whole = np.asarray(spread(layer.table)(jnp.asarray(kernels)))
            plan.append(Conv(whole.reshape(outputs, inputs, size, size), arrays["bias"]))
        elif isinstance(layer, Subsample):
            # The sum of four times a coefficient is a convolution of each map.
            kernel = np.broadcast_to(
                arrays["coefficient"][:, None, None, None], (layer.maps, 1, 2, 2)
            )
            plan.append(Conv(kernel, arrays["bias"], stride=2, groups=layer.maps))
        elif isinstance(layer, Dense1998):
            plan += [] if flat else [Flatten()]
            flat = True
            plan.append(Dense(arrays["kernel"].T, arrays["bias"]))
        plan.append(act)
    codes = tables.digit_codes() if isinstance(model, LeNet5_1998) else 2.0 * np.eye(10) - 1.0
    return [*plan, Distances(codes.astype(np.float32))]
