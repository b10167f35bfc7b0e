"""Our networks in PyTorch, NCHW, for timing the same step there."""

import torch
from torch import nn

from lenet_alexnet.models.alexnet.network import LRN, AlexNet
from lenet_alexnet.models.alexnet.options import sides
from lenet_alexnet.models.cuda_convnet import CudaConvNet
from lenet_alexnet.models.lenet import LeNet5

Known = LeNet5 | AlexNet | CudaConvNet


def create(model: Known) -> nn.Module:
    """Our network in PyTorch."""
    if isinstance(model, LeNet5):
        return lenet5(model.num_classes)
    return cuda_convnet(model) if isinstance(model, CudaConvNet) else alexnet(model)


def lenet5(classes: int) -> nn.Module:
    """models/lenet.py with ReLU: 61,706 parameters for 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes),
    )  # fmt: skip


class TowerNorm(nn.Module):
    """Response normalisation over five maps, within each of the towers (2012, sec. 3.3)."""

    def __init__(self, kind: str, towers: int) -> None:
        super().__init__()
        k, alpha, beta = LRN[kind]
        # PyTorch divides alpha by the size of the window.
        self.norm = nn.LocalResponseNorm(5, alpha=5 * alpha, beta=beta, k=k)
        self.towers = towers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises each tower, as a view without a copy."""
        return self.norm(x.unflatten(1, (self.towers, -1)).flatten(0, 1)).view(x.shape)


class WithinMapNorm(nn.Module):
    """Response normalisation over size x size neighbours within a map."""

    def __init__(self, size: int, scale: float) -> None:
        super().__init__()
        self.size, self.scale = size, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Divides by (1 + scale * mean of the squares, zeros beyond the edge)^0.75."""
        mean = nn.functional.avg_pool2d(x * x, self.size, 1, self.size // 2)
        return x / (1 + self.scale * mean).pow(0.75)


def alexnet(model: AlexNet) -> nn.Module:
    """models/alexnet/, all variants: 60,965,224 parameters for the paper's 1,000 classes.

    The towers are the groups of conv2, conv4 and conv5.
    """
    before, after = model.conv1_pad()
    maps: list[nn.Module] = [] if before == after else [nn.ZeroPad2d((before, after) * 2)]
    inputs = model.channels
    for n, width in enumerate(model.widths, 1):
        size, stride = {1: (11, 4), 2: (5, 1)}.get(n, (3, 1))
        pad = size // 2 if n > 1 else before if before == after else 0
        groups = model.towers if n in (2, 4, 5) else 1
        biased = not model.batch_norm
        maps += [nn.Conv2d(inputs, width, size, stride, pad, groups=groups, bias=biased)]
        maps += _after_convolution(model, n, width)
        inputs = width
    side, width = sides(model.image_size, "3/2", model.conv1_padding)[-1], model.dense_width
    first, second = nn.Linear(inputs * side * side, width), nn.Linear(width, width)
    drop = [nn.Dropout(float(model.dropout))]
    early, late = (drop, []) if model.dropout_place == "before" else ([], drop)
    dense = [*early, first, nn.ReLU(), *late, *early, second, nn.ReLU(), *late]
    return nn.Sequential(*maps, nn.Flatten(), *dense, nn.Linear(width, model.num_classes))


def _after_convolution(model: AlexNet, n: int, width: int) -> list[nn.Module]:
    """Batch normalisation, activation, response normalisation and pooling of convolution n."""
    found: list[nn.Module] = [nn.BatchNorm2d(width, eps=1e-4)] if model.batch_norm else []
    norm: list[nn.Module] = []
    if n < 3 and model.lrn != "none":
        norm = [TowerNorm(model.lrn, 1 if model.lrn == "caffe" else model.towers)]
    if n == 2 and model.spatial_norm:
        norm += [WithinMapNorm(5, 0.001)]
    pool = [nn.MaxPool2d(3, 2)] if n in (1, 2, 5) else []
    if n == 1 and model.lrn_place == "first_before_relu":
        return [*found, *norm, *pool, nn.ReLU()]
    rest = [*pool, *norm] if model.lrn_place == "after_pool" else [*norm, *pool]
    return [*found, nn.ReLU(), *rest]


class Local(nn.Module):
    """A 3x3 convolution whose filters are not shared between positions; zeros beyond the edge."""

    def __init__(self, side: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.04 * torch.randn(side * side, 9 * inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs, side, side))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One product for each position: [b, c k k] by [c k k, f]."""
        columns = nn.functional.unfold(x, 3, padding=1).permute(2, 0, 1)
        out = torch.bmm(columns, self.weight).permute(1, 2, 0)
        return out.reshape(len(x), *self.bias.shape) + self.bias


def cuda_convnet(model: CudaConvNet) -> nn.Module:
    """models/cuda_convnet.py with ReLU and without dropout, all variants."""
    layers: list[nn.Module] = []
    maps, side = model.channels, model.image_size
    for width, kind, norm in zip(model.widths, model.pools, model.norms, strict=True):
        layers += [nn.Conv2d(maps, width, 5, padding=2), nn.ReLU()]
        pool = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}[kind](3, 2, ceil_mode=True)
        across = nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.0)
        layers += {
            "none": [pool],
            "within": [pool, WithinMapNorm(3, 5e-5)],
            "across": [pool, across],
            "across_before_pool": [across, pool],
        }[norm]
        maps, side = width, -(-(side - 3) // 2) + 1
    for width in model.local_widths:
        layers += [Local(side, maps, width), nn.ReLU()]
        maps = width
    units = maps * side * side
    layers.append(nn.Flatten())
    if model.dense_width:
        layers += [nn.Linear(units, model.dense_width), nn.ReLU()]
        units = model.dense_width
    return nn.Sequential(*layers, nn.Linear(units, model.num_classes))
