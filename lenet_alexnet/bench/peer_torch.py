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
from lenet_alexnet.bench.torch_networks import create
from lenet_alexnet.errors import Diverged
from lenet_alexnet.runtime.backend import own_cores


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
    named = list(net.named_parameters())
    kernels = [p for name, p in named if name.endswith("weight")]
    biases = [p for name, p in named if name.endswith("bias")]
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
