"""The kernels of the first convolution (Krizhevsky et al. 2012, Fig. 3; C1 of LeNet-5)."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from lenet_alexnet import plots
from lenet_alexnet.errors import DataError
from lenet_alexnet.models import Network1998
from lenet_alexnet.report.page import Section
from lenet_alexnet.report.tiles import bare, mosaic

Kernels = list[Float[np.ndarray, "n h w c"]]


def first_kernels(model: Any, params: Any, layer: str) -> Kernels:
    """The kernels of `layer`, one array for each tower.

    Raises:
      DataError: the layer is not a convolution.
    """
    kernel = np.asarray(params[layer]["kernel"], np.float32)
    if isinstance(model, Network1998) and kernel.ndim == 3:  # [connected pairs, h, w]
        return [kernel[..., None]]
    if kernel.ndim == 4:  # [h, w, c, n]
        return [np.moveaxis(kernel, -1, 0)]
    if kernel.ndim == 5:  # [towers, h, w, c, n]
        return [np.moveaxis(tower, -1, 0) for tower in kernel]
    raise DataError(f"the first layer, {layer}, is not a convolution")


def as_colours(kernels: Float[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n h w 3"]:
    """Weights as colours 0..1: grey is 0, and each kernel's largest weight the full range."""
    largest = np.abs(kernels).max((1, 2, 3), keepdims=True)
    return 0.5 + 0.5 * kernels / np.maximum(largest, 1e-12)


def draw(model: Any, params: Any, layer: str, folder: Path) -> Section:
    """kernels.png: a panel of kernels for each tower."""
    towers = first_kernels(model, params, layer)
    plt = plots.pyplot()
    count, height, width, channels = towers[0].shape
    columns = min(count, 16)
    rows = -(-count // columns)
    size = min(11, 1.6 * columns)
    figure, grid = plt.subplots(
        len(towers),
        1,
        squeeze=False,
        figsize=(size + (0.8 if channels != 3 else 0), len(towers) * (size * rows / columns + 0.6)),
    )
    for t, (axes, kernels) in enumerate(zip(grid[:, 0], towers, strict=True)):
        if channels == 3:
            axes.imshow(mosaic(as_colours(kernels), columns, fill=1.0))
        else:
            flat = kernels[..., 0] if channels == 1 else kernels.mean(-1)
            limit = float(np.abs(flat).max())
            # Red against blue with white between: safe for colour-blind readers.
            shown = axes.imshow(mosaic(flat, columns), cmap="RdBu_r", vmin=-limit, vmax=limit)
            figure.colorbar(shown, ax=axes, label="weight", fraction=0.05, pad=0.02)
        bare(axes, "white")
        tower = f"tower {t + 1}: " if len(towers) > 1 else ""
        axes.set_title(f"{layer}, {tower}{count} kernels of {width}x{height} pixels", fontsize=13)
    return Section(
        "kernels",
        f"First-layer kernels ({layer})",
        _text(towers),
        plots.save(figure, folder / "kernels.png"),
    )


def colour_share(kernels: Float[np.ndarray, "n h w 3"]) -> float:
    """The share of the squared weights that is the three colours' difference from their mean."""
    grey = kernels.mean(-1, keepdims=True)
    return float(((kernels - grey) ** 2).sum() / max(float((kernels**2).sum()), 1e-12))


def _text(towers: Kernels) -> list[str]:
    each = f"{len(towers[0])} kernels"
    if towers[0].shape[-1] != 3:
        return [f"{each}: red weights answer to ink (or light), blue ones to its absence."]
    shares = ", ".join(f"{100 * colour_share(kernels):.0f} %" for kernels in towers)
    where = f"in each of {len(towers)} towers" if len(towers) > 1 else "in one tower"
    text = [
        f"{each} {where}. Grey is 0; each kernel is scaled to its largest weight. Share of the "
        f"squared weights that is colour: {shares} (of random weights: 67 %)."
    ]
    if len(towers) == 2:
        text.append(
            "In the paper's net, one tower's kernels were mostly grey and the other's mostly "
            "coloured, with any initial weights (2012, sec. 6.1)."
        )
    return text
