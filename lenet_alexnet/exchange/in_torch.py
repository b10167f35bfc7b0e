"""Follows a plan in PyTorch: the independent reader of exported state dicts."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from lenet_alexnet.exchange import plan as plans
from lenet_alexnet.exchange.plan import Plan
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.models.layers import AMPLITUDE, SLOPE
from lenet_alexnet.weights import names


def alexnet(model: AlexNet, file: Path, images: np.ndarray) -> np.ndarray:
    """The logits of normalised images [b, h, w, c], by AlexNet in torch with a file's weights."""
    state = torch.load(file, weights_only=True)
    weights = {
        f"{layer}.{name}": state[f"{place}.{name}"].numpy()
        for layer, place in names.TORCHVISION.items()
        for name in ("weight", "bias")
    }
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    with torch.no_grad():
        return follow(plans.of_alexnet(model, weights), x).numpy()


def follow(plan: Plan, x: torch.Tensor) -> torch.Tensor:
    """The outputs for normalised images [b, c, h, w]."""
    for operation in plan:
        x = _apply(operation, x)
    return x


def _apply(operation: plans.Operation, x: torch.Tensor) -> torch.Tensor:
    match operation:
        case plans.Conv():
            before, after = operation.pads
            x = functional.pad(x, (before, after, before, after))
            weights, bias = _tensor(operation.weights), _tensor(operation.bias)
            return functional.conv2d(x, weights, bias, operation.stride, 0, 1, operation.groups)
        case plans.Dense():
            return functional.linear(x, _tensor(operation.weights), _tensor(operation.bias))
        case plans.Scale():
            shape = (1, -1, *[1] * (x.ndim - 2))
            return x * _tensor(operation.factor).view(shape) + _tensor(operation.shift).view(shape)
        case plans.Norm():
            # PyTorch divides alpha by the size of the window.
            sizes = operation.size, operation.alpha * operation.size, operation.beta, operation.k
            groups = x.unflatten(1, (operation.groups, -1)).flatten(0, 1)
            return functional.local_response_norm(groups, *sizes).view(x.shape)
        case plans.SpatialNorm():
            size = operation.size
            sums = functional.avg_pool2d(x * x, size, 1, size // 2) * size**2
            return x / (operation.k + operation.alpha * sums) ** operation.beta
        case plans.MaxPool():
            return functional.max_pool2d(x, operation.size, 2, ceil_mode=operation.ceil)
        case plans.AveragePool():
            return functional.avg_pool2d(x, 2)
        case plans.Flatten():
            return x.flatten(1)
        case plans.Activation():
            return _activate(operation.name, x)
        case plans.Distances():
            return -((x[:, None, :] - _tensor(operation.codes)) ** 2).sum(-1)


def _activate(name: str, x: torch.Tensor) -> torch.Tensor:
    if name == "scaled_tanh":
        return AMPLITUDE * torch.tanh(SLOPE * x)
    return {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}[name](x)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))
