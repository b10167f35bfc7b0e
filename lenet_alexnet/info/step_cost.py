"""The memory and exchanges of a training step on each device: as compiled, and by formulas.

The step is compiled for the given number of CPU devices; nothing is computed, no data are read.
XLA for CPUs exchanges bfloat16 as float32, so the compiled bytes are twice those on a GPU.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lenet_alexnet.config.options import setting
from lenet_alexnet.info import network, step_program
from lenet_alexnet.info.collectives import KINDS, collectives, sent
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.training.builders import build_model
from lenet_alexnet.training.layout import Layout

PASSES = 3  # forward, the gradient of a layer's inputs, the gradient of its weights


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The numbers that the formulas use."""

    params: int  # of the network
    dense: int  # of them in fc6, fc7 and fc8's weights
    seams: dict[str, int]  # values per image where towers or devices exchange: conv3's input ...
    classes: int
    width: int  # bytes of an activation


def analyse(config: Any, devices: int) -> dict[str, Any]:
    """Bytes on each device and bytes exchanged in a step, in a config's mode on `devices` devices.

    Raises:
      UsageError: the mode, the batch or the devices do not fit each other.
    """
    model = build_model(config)
    layout = Layout(**config.parallel, devices=devices, model=model)
    batch = config.train.batch_size
    layout.check_batch("train.batch_size", batch, config.train.accumulate)
    run = step_program.jit(config, model, layout)
    compiled = step_program.lower(run, config, layout, rows=1).compile()
    description = network.describe(model, model.input_shape)
    size = sizes(model, description)
    mode = config.parallel.mode
    whole = not config.parallel.shard_optimizer and not setting(config, "train.freeze")
    return {
        "mode": mode,
        "devices": devices,
        "batch_size": batch,
        "activation_bytes": activation_bytes(description, size, devices, batch),
        "multiply_adds": PASSES * batch * description["total_multiply_adds"] // devices,
        "formula": formula(mode, size, devices, batch) if whole else None,
        **of_program(compiled, run.state, devices),
    }


def of_program(compiled: Any, state: Any, devices: int) -> dict[str, Any]:
    """Bytes on each device, and bytes that it exchanges in a step, of a compiled training program.

    Args:
      compiled: the program.
      state: its train state, or the shapes and shardings of one.
      devices: how many it runs on.
    """
    found = collectives(compiled.as_text() or "")
    exchanged = {kind: sum(c.bytes for c in found if c.kind == kind) for kind in KINDS}
    return {
        "param_bytes": _bytes_here(state.params),
        "optimizer_bytes": _bytes_here(state.opt_state),
        "peak_bytes": step_program.peak_bytes(compiled),
        "exchanges": len(found),
        "exchanged": {kind: n for kind, n in exchanged.items() if n},
        "sent_bytes": sum(sent(c.kind, c.bytes, c.group or devices) for c in found),
    }


def _bytes_here(tree: Any) -> int:
    """Bytes of a sharded tree on one device."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def sizes(model: Any, description: dict[str, Any]) -> Sizes:
    """The sizes of a network that the formulas need."""
    layers = {layer["name"]: layer for layer in description["layers"]}
    dense, seams = 0, {}
    if isinstance(model, AlexNet):
        output = {name: math.prod(layer["output_shape"]) for name, layer in layers.items()}
        dense = sum(layers[name]["params"] for name in ("fc6", "fc7", "fc8")) - model.num_classes
        seams = {"conv3": output["pool2"], "fc6": output["pool5"], "fc7": output["fc6"]}
        if model.conv6:
            seams |= {"conv6": output["pool5"], "fc6": output["conv6"]}
    width = jnp.dtype(getattr(model, "dtype", jnp.float32)).itemsize
    return Sizes(
        params=description["total_params"],
        dense=dense,
        seams=seams,
        classes=model.num_classes,
        width=width,
    )


def activation_bytes(description: dict[str, Any], size: Sizes, devices: int, batch: int) -> int:
    """Bytes of all layers' outputs, which every mode cuts evenly: by batch, maps or units."""
    outputs = sum(math.prod(layer["output_shape"]) for layer in description["layers"])
    return batch * outputs * size.width // devices


def formula(mode: str, size: Sizes, devices: int, batch: int) -> dict[str, int]:
    """Bytes of the results of a step's exchanges on one device, by kind.

    - dp sums all gradients, in float32;
    - tower gathers the other tower's half where the towers connect, scatters its gradients back,
      and sums fc8's outputs; several pairs sum the gradients of their towers;
    - owt gathers the whole batch before fc6 and all units before fc7, scatters their gradients and
      fc8's sums back, and sums the convolutions' gradients.
    """
    if devices == 1:
        return {}
    if mode == "dp":
        return {"all-reduce": 4 * size.params}
    if mode == "tower":
        pairs = devices // 2
        b = batch // pairs
        gathered = size.width * b * sum(size.seams.values())
        own = (size.params - size.classes) // 2 + size.classes
        summed = 4 * b * size.classes + (4 * own if pairs > 1 else 0)
        return {"all-reduce": summed, "all-gather": gathered, "reduce-scatter": gathered // 2}
    gathered = size.width * batch * (size.seams["fc6"] + size.seams["fc7"])
    logits = 4 * batch * size.classes
    return {
        "all-reduce": 4 * (size.params - size.dense),
        "all-gather": gathered + logits,
        "reduce-scatter": (gathered + logits) // devices,
    }


def formula_sent(mode: str, size: Sizes, devices: int, batch: int) -> int:
    """`sent_bytes` by the formulas."""
    pairs = devices // 2
    total = 0
    for kind, amount in formula(mode, size, devices, batch).items():
        if mode == "tower" and kind == "all-reduce":
            logits = 4 * (batch // pairs) * size.classes
            total += sent(kind, logits, 2) + sent(kind, amount - logits, pairs)
        else:
            total += sent(kind, amount, 2 if mode == "tower" else devices)
    return total


def as_table(result: dict[str, Any]) -> str:
    """`analyse` as a table."""
    mode, devices = result["mode"], result["devices"]
    many = f"{devices} device" + ("s" if devices > 1 else "")
    lines = ["", f"mode {mode} on {many}, a total batch of {result['batch_size']}; on each:"]
    for name, key in (
        ("parameters", "param_bytes"),
        ("optimizer state", "optimizer_bytes"),
        ("activations (by shapes)", "activation_bytes"),
        ("peak memory (as compiled for a CPU)", "peak_bytes"),
    ):
        lines.append(f"  {name:<36}{_mb(result[key])}")
    lines.append(f"  {'multiply-adds per step':<36}{result['multiply_adds'] / 1e9:>11,.2f} G")
    lines.append(f"  {'exchanged per step':<36}{'compiled':>13}{'by formula':>15}")
    kinds = [k for k in KINDS if k in result["exchanged"] or k in (result["formula"] or {})]
    for kind in kinds:
        expected = _mb(result["formula"].get(kind, 0)) if result["formula"] else "-"
        lines.append(f"    {kind:<34}{_mb(result['exchanged'].get(kind, 0))}{expected:>15}")
    if not kinds:
        lines.append("    nothing")
    lines.append(f"  {'sent per step (in rings)':<36}{_mb(result['sent_bytes'])}")
    return "\n".join(lines)


def _mb(n: int) -> str:
    return f"{n / 1e6:>10,.2f} MB"
