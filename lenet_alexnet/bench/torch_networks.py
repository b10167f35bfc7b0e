"""Our networks in PyTorch, NCHW, for timing the same step there."""

import torch
from torch import nn

from lenet_alexnet.errors import UsageError
from lenet_alexnet.models.alexnet.network import LRN, AlexNet
from lenet_alexnet.models.alexnet.options import sides
from lenet_alexnet.models.cuda_convnet import CudaConvNet
from lenet_alexnet.models.lenet import LeNet5

Known = LeNet5 | AlexNet | CudaConvNet


def create(model: Known) -> nn.Module:
    """Our network in PyTorch.

    Raises:
      UsageError: a variant of AlexNet other than the paper's.
    """
    if isinstance(model, LeNet5):
        return lenet5(model.num_classes)
    if isinstance(model, CudaConvNet):
        return cuda_convnet(model)
    ours = AlexNet(num_classes=model.num_classes, image_size=model.image_size)
    if model.clone(dtype=ours.dtype, dropout=ours.dropout, conv_form=ours.conv_form) != ours:
        raise UsageError("--peer=torch has only AlexNet's variant 'paper'")
    return alexnet(model)


def lenet5(classes: int) -> nn.Module:
    """models/lenet.py with ReLU: 61,706 parameters for 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes),
    )  # fmt: skip


class TowerNorm(nn.Module):
    """Response normalisation within each of two towers (2012, sec. 3.3)."""

    def __init__(self) -> None:
        super().__init__()
        k, alpha, beta = LRN["paper"]
        # PyTorch divides alpha by the size of the window.
        self.norm = nn.LocalResponseNorm(5, alpha=5 * alpha, beta=beta, k=k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises each tower, as a view without a copy."""
        return self.norm(x.unflatten(1, (2, -1)).flatten(0, 1)).view(x.shape)


def alexnet(model: AlexNet) -> nn.Module:
    """models/alexnet.py, variant paper: 60,965,224 parameters for 1,000 classes.

    The towers are the two groups of conv2, conv4 and conv5.
    """
    side = sides(model.image_size, "3/2", None)[-1]
    rest = -(model.image_size - 11) % 4
    rate = float(model.dropout)
    return nn.Sequential(
        nn.ZeroPad2d((0, rest, 0, rest)),
        nn.Conv2d(3, 96, 11, 4), nn.ReLU(), TowerNorm(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), TowerNorm(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(256 * side * side, 4096), nn.ReLU(), nn.Dropout(rate),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(rate),
        nn.Linear(4096, model.num_classes),
    )  # fmt: skip


class WithinMapNorm(nn.Module):
    """Response normalisation over 3x3 neighbours within a map."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Divides by (1 + 5e-5 * mean of 9 squares, zeros beyond the edge)^0.75."""
        return x / (1 + 5e-5 * nn.functional.avg_pool2d(x * x, 3, 1, 1)).pow(0.75)


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
        pool = (nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(3, 2, ceil_mode=True)
        across = nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.0)
        layers += {
            "none": [pool],
            "within": [pool, WithinMapNorm()],
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
