"""A network's layers and their costs, counted while its shapes are traced."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lenet_alexnet.models import published


def describe(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Any]:
    """Name, output shape, parameters, connections and multiply-adds of every layer, and totals.

    Nothing is computed: the network is traced on shapes alone.
    """
    layers: list[dict[str, Any]] = []

    def record(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        out = call(*arguments, **keywords)
        layer = context.module
        if context.method_name == "__call__" and hasattr(layer, "connections"):
            shape = _output_shape(out)
            sizes = [
                math.prod(leaf.shape) for leaf in jax.tree.leaves(layer.variables.get("params", {}))
            ]
            layers.append(
                {
                    "name": layer.name,
                    "output_shape": list(shape),
                    "params": sum(sizes),
                    "connections": layer.connections(shape),
                    "multiply_adds": layer.multiply_adds(shape),
                }
            )
        return out

    with nn.intercept_methods(record):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *input_shape)))
    columns = ("params", "connections", "multiply_adds")
    totals = {f"total_{column}": sum(layer[column] for layer in layers) for column in columns}
    printed = published(model)
    for layer in layers:
        for column, count in printed.get(layer["name"], {}).items():
            layer[f"published_{column}"] = count
    for column, count in printed.get("total", {}).items():
        totals[f"published_total_{column}"] = count
    return {"input_shape": list(input_shape), "layers": layers, **totals}


def _output_shape(out: Any) -> tuple[int, ...]:
    """The shape without the batch axis, over all towers."""
    towers = out if isinstance(out, list) else [out]
    return (*towers[0].shape[1:-1], sum(tower.shape[-1] for tower in towers))


def as_table(description: dict[str, Any]) -> str:
    """`describe` as a table."""
    columns = ("params", "connections", "multiply_adds")
    rows = [["layer", "output", "parameters", "connections", "multiply-adds"]]
    rows.append(["input", _shape(description["input_shape"]), "", "", ""])
    for layer in description["layers"]:
        counts = [f"{layer[column]:,}" for column in columns]
        rows.append([layer["name"], _shape(layer["output_shape"]), *counts])
    rows.append(["total", "", *(f"{description['total_' + column]:,}" for column in columns)])
    published_totals = [description.get(f"published_total_{column}") for column in columns]
    if any(published_totals):
        rows.append(["published", "", *("" if n is None else f"{n:,}" for n in published_totals)])
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = []
    for row in rows:
        texts = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        counts = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(texts + counts).rstrip())
    return "\n".join(lines)


def _shape(shape: list[int]) -> str:
    return "x".join(str(n) for n in shape)
