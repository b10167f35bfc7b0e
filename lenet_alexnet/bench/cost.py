"""What XLA compiles of a config's training step for a GPU that is not there.

No time is measured: ratios of bytes between two forms of a step are good leads.
"""

from collections import Counter
from typing import Any

from lenet_alexnet.info import absent, hlo, network, step_program
from lenet_alexnet.info.collectives import KINDS, collectives
from lenet_alexnet.info.step_cost import PASSES
from lenet_alexnet.runtime import target
from lenet_alexnet.training.builders import build_model
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.matmul_precision import matmul_precision

SHOWN = 12  # of the layers, the largest


def analyse(config: Any, name: str, devices: int = 1) -> dict[str, Any]:
    """Bytes, kernels, memory and exchanges of one step on each of `devices` GPUs of a kind.

    `absent.require` must have been called before. A dispatch has `train.steps_per_dispatch` steps.

    Raises:
      UsageError: the mode, the batch or the devices do not fit each other.
    """
    with target.tracing_for("gpu"), matmul_precision(config):
        model = build_model(config)
        layout = Layout(**config.parallel, devices=absent.devices(name, devices), model=model)
        layout.check_batch("train.batch_size", config.train.batch_size, config.train.accumulate)
        run = step_program.jit(config, model, layout)
        rows = max(2, config.train.steps_per_dispatch)  # A loop of one step is no loop.
        compiled = step_program.lower(run, config, layout, rows=rows, full=True).compile()
    text = compiled.as_text() or ""
    description = network.describe(model, model.input_shape)
    layers = [layer["name"] for layer in description["layers"]]
    found = {
        "for": name,
        "devices": devices,
        "mode": config.parallel.mode,
        "batch_size": config.train.batch_size,
        "precision": config.train.precision,
        "flops": 2
        * PASSES
        * config.train.batch_size
        * description["total_multiply_adds"]
        // devices,
        "peak_bytes": step_program.peak_bytes(compiled),
    }
    return found | of_text(text, layers, config.train.batch_size // devices)


def of_text(text: str, layers: list[str], rows: int) -> dict[str, Any]:
    """What an optimised program's text says of one step; `rows` of the batch are on a device."""
    program = hlo.read(text)
    kernels = list(program.kernels())
    by_layer: Counter[str] = Counter()
    for kernel in kernels:
        by_layer[_layer(kernel.instruction.attribute("op_name"), layers)] += kernel.bytes
    exchanged: Counter[str] = Counter()
    for exchange in collectives(text):
        exchanged[exchange.kind] += exchange.bytes
    total = sum(by_layer.values())
    return {
        "bytes": total,
        "bytes_per_image": total // rows,
        "bytes_by_layer": dict(by_layer.most_common()),
        "kernels": len(kernels),
        "kernels_by_kind": dict(Counter(kernel.kind for kernel in kernels).most_common()),
        "exchanged": {kind: exchanged[kind] for kind in KINDS if exchanged[kind]},
        "trip_count": program.trip_count(),
        "host_transfers": program.host_transfers(),
    }


def _layer(op_name: str, layers: list[str]) -> str:
    """The layer in which an operation was traced; "other": optimizer, loss, preprocessing."""
    return next((part for part in reversed(op_name.split("/")) if part in layers), "other")


def as_table(found: dict[str, Any]) -> str:
    """`analyse` as a table."""
    devices = f", {found['devices']} devices, mode {found['mode']}" if found["devices"] > 1 else ""
    trips = found["trip_count"]
    rows = [
        ("bytes accessed per step", _gb(found["bytes"])),
        ("per image", f"{found['bytes_per_image'] / 1e6:,.2f} MB"),
        ("floating-point operations per step", f"{found['flops'] / 1e9:,.1f} G"),
        ("kernels per step", f"{found['kernels']:,}"),
        ("peak memory", _gb(found["peak_bytes"])),
        ("steps in the loop", f"{trips:,}" if trips else "not known: the host is asked each time"),
        ("waits for the host in a dispatch", f"{len(found['host_transfers'])}"),
        *((f"exchanged: {kind}", _gb(n)) for kind, n in found["exchanged"].items()),
    ]
    head = f"as compiled for {found['for']}: batch {found['batch_size']}, {found['precision']}"
    lines = [
        head + devices,
        *(f"  {name:<38}{value:>14}" for name, value in rows),
        "bytes by layer",
    ]
    largest = list(found["bytes_by_layer"].items())[:SHOWN]
    lines += [f"  {name:<38}{_gb(n):>14} {100 * n / found['bytes']:5.1f} %" for name, n in largest]
    return "\n".join(lines)


def _gb(n: int) -> str:
    return f"{n / 1e9:,.2f} GB"
