"""The same training step in PyTorch: network, batch, precision and optimizer.

Its batch is normalised and stays on the device. Our step also reads bytes, crops and sums errors:
leaving these out favours PyTorch.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from lenet_alexnet.bench.measure import Subject
from lenet_alexnet.errors import Diverged, UsageError
from lenet_alexnet.models.alexnet.network import LRN, AlexNet
from lenet_alexnet.models.alexnet.options import sides
from lenet_alexnet.models.lenet import LeNet5
from lenet_alexnet.runtime.backend import own_cores


def create(model: LeNet5 | AlexNet) -> nn.Module:
    """Our network in PyTorch, NCHW.

    Raises:
      UsageError: a variant of AlexNet other than the paper's.
    """
    if isinstance(model, LeNet5):
        return lenet5(model.num_classes)
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


class Form(NamedTuple):
    """One of PyTorch's ways to run a network."""

    name: str
    compiled: bool
    layout: Any


FORMS = (
    Form("PyTorch eager", False, torch.contiguous_format),
    Form("PyTorch eager, channels_last", False, torch.channels_last),
    Form("PyTorch compiled", True, torch.contiguous_format),
    Form("PyTorch compiled, channels_last", True, torch.channels_last),
)


def subjects(
    model: Any, *, batch: int, precision: str, optimizer: dict[str, Any], gpu: bool
) -> tuple[list[Subject], list[str]]:
    """The forms that run here, warmed up, and notes on those that do not.

    Args:
      model: ours.
      batch, precision: of the step.
      optimizer: a config's section, of plain SGD.
      gpu: on the GPU that JAX uses, or on all cores.
    """
    torch.set_num_threads(len(own_cores()))
    torch.backends.cudnn.benchmark = True
    height, width, channels = model.input_shape
    found, notes = [], []
    for form in FORMS:
        x = torch.randn(batch, channels, height, width)
        labels = torch.randint(model.num_classes, (batch,))
        device = torch.device("cuda" if gpu else "cpu")
        x = x.to(device, memory_format=form.layout)
        net: Any = create(model).train()
        net = net.to(device, memory_format=form.layout)
        run = _runner(net, form.compiled, x, labels.to(device), precision, optimizer)
        try:
            run(2)
        except Exception as error:  # Its compiler may fail here in many ways.
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            notes.append(f"{form.name} does not run here: {line[:200]}")
        else:
            found.append(Subject(form.name, run, batch))
    return found, notes


def _runner(
    net: nn.Module,
    compiled: bool,
    x: torch.Tensor,
    labels: torch.Tensor,
    precision: str,
    optimizer: dict[str, Any],
) -> Callable[[int], None]:
    kernels = [p for p in net.parameters() if p.ndim > 1]
    biases = [p for p in net.parameters() if p.ndim == 1]
    decay, kind = optimizer["weight_decay"], x.device.type
    sgd = torch.optim.SGD(
        [{"params": kernels, "weight_decay": decay}, {"params": biases}],
        lr=optimizer["learning_rate"],
        momentum=optimizer["momentum"],
        fused=True,
    )
    forward = torch.compile(net) if compiled else net
    halves = precision == "bfloat16"

    def run(count: int) -> None:
        for _ in range(count):
            sgd.zero_grad(set_to_none=True)
            with torch.autocast(kind, torch.bfloat16, enabled=halves):
                loss = nn.functional.cross_entropy(forward(x), labels)
            loss.backward()
            sgd.step()
        if kind == "cuda":
            torch.cuda.synchronize()
        if not math.isfinite(loss.item()):
            raise Diverged("PyTorch's loss became NaN or infinite: its rates mean nothing")

    return run
