"""What all figures share: matplotlib (the extra `plots`), colours, saving."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenet_alexnet.runtime import storage

MISSING = "no figures: pip install 'lenet-alexnet[plots]'"

# Okabe and Ito 2008: distinguishable with any kind of colour vision.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY = "#E69F00", "#56B4E9"
ACTIVATIONS = {  # name, colour and marker of each
    "relu": ("ReLU", BLUE, "o"),
    "tanh": ("tanh", VERMILLION, "s"),
    "sigmoid": ("sigmoid", GREEN, "^"),
}


def pyplot() -> Any:
    """matplotlib.pyplot, drawing to files only; ModuleNotFoundError if it is not installed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams["font.size"] = 12  # legible at half size
    return plt


def is_log(values: Sequence[float]) -> bool:
    """Whether a log scale suits: the median is nearer the geometric middle than the arithmetic."""
    low, high = min(values), max(values)
    if low <= 0 or high < 10 * low:
        return False
    median = statistics.median(values)
    return abs(median - (low * high) ** 0.5) < abs(median - (low + high) / 2)


def log_axis(axes: Any) -> None:
    """A logarithmic y axis whose ticks are plain numbers: 0.5, 1, 2."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def save(figure: Any, path: Path) -> Path:
    """Writes a figure as PNG and closes it."""
    figure.tight_layout()
    with storage.written_whole(path, "wb") as file:
        figure.savefig(file, dpi=110, format=path.suffix[1:])
    pyplot().close(figure)
    return path
