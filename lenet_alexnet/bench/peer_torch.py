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

MEMORY = 0.45  # of a GPU's, for PyTorch; JAX has as much


class Form(NamedTuple):
    """One of PyTorch's ways to run a network; `mode` is torch.compile's, None: not compiled."""

    name: str
    mode: str | None
    layout: Any


def forms(gpu: bool) -> list[Form]:
    """Every compilation with every layout; on a GPU also tuned and as CUDA graphs."""
    modes = {"eager": None, "compiled": "default"}
    if gpu:
        modes["compiled, max-autotune"] = "max-autotune"
    layouts = {"": torch.contiguous_format, ", channels_last": torch.channels_last}
    return [
        Form(f"PyTorch {how}{where}", mode, layout)
        for how, mode in modes.items()
        for where, layout in layouts.items()
    ]


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
    if gpu:
        torch.set_float32_matmul_precision("high")  # TF32, as XLA's default
        torch.backends.cudnn.allow_tf32 = True
        torch.cuda.set_per_process_memory_fraction(MEMORY)
    height, width, channels = model.input_shape
    found, notes = [], []
    for form in forms(gpu):
        x = torch.randn(batch, channels, height, width)
        labels = torch.randint(model.num_classes, (batch,))
        device = torch.device("cuda" if gpu else "cpu")
        x = x.to(device, memory_format=form.layout)
        net: Any = create(model).train()
        net = net.to(device, memory_format=form.layout)
        run = _runner(net, form.mode, x, labels.to(device), precision, optimizer)
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
    mode: str | None,
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
    forward: Any = torch.compile(net, mode=mode) if mode else net
    halves = precision == "bfloat16"

    def run(count: int) -> None:
        for _ in range(count):
            torch.compiler.cudagraph_mark_step_begin()  # The last step's results may go.
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
