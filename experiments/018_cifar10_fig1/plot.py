"""Draws fig1.png from curves.csv and gradients.csv.

python experiments/018_cifar10_fig1/plot.py
"""

import statistics
from pathlib import Path
from typing import Any

from lenet_alexnet import plots
from lenet_alexnet.reproduce import records

HERE = Path(__file__).parent


def errors(axes: Any, rows: list[dict[str, str]]) -> None:
    """Training error by epoch: each seed a thin line, their mean a thick one."""
    for name, (label, colour, _) in plots.ACTIVATIONS.items():
        runs: dict[str, dict[int, float]] = {}
        for row in rows:
            if row["set"].endswith(f"/{name}"):
                epoch = round(float(row["epoch"]))
                runs.setdefault(row["seed"], {})[epoch] = 100 * float(row["error"])
        if not runs:
            continue
        for run in runs.values():
            axes.plot(list(run), list(run.values()), color=colour, alpha=0.3, linewidth=0.8)
        means = {
            epoch: statistics.fmean(run[epoch] for run in runs.values())
            for epoch in next(iter(runs.values()))
        }
        axes.plot(
            list(means), list(means.values()), color=colour, label=f"{label}, {len(runs)} seeds"
        )
    axes.axhline(25, color="black", linestyle="--", linewidth=1)
    axes.text(0.99, 25.5, "25 %", ha="right", transform=axes.get_yaxis_transform())
    axes.set(xlabel="epoch", ylabel="training error, %", xlim=(0, None), ylim=(0, 70))
    axes.legend(loc="upper right", fontsize=10)
    axes.grid(alpha=0.3)


def gradients(axes: Any, rows: list[dict[str, str]]) -> None:
    """The gradient's norm by layer: each seed a mark, their geometric mean a line."""
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    for name, (label, colour, marker) in plots.ACTIVATIONS.items():
        mine = [row for row in rows if row["set"].endswith(f"/{name}")]
        norms = [
            [float(row["gradient_norm"]) for row in mine if row["layer"] == layer]
            for layer in layers
        ]
        if not mine:
            continue
        for place, values in enumerate(norms):
            axes.plot([place] * len(values), values, marker, color=colour, alpha=0.4, markersize=4)
        middles = [statistics.geometric_mean(values) for values in norms]
        axes.plot(range(len(layers)), middles, color=colour, label=label)
    plots.log_axis(axes)
    axes.legend(fontsize=10)
    axes.set_xticks(range(len(layers)), layers)
    axes.set(xlabel="layer", ylabel="norm of the gradient until 25 %")
    axes.grid(alpha=0.3)


def main() -> None:
    """A row of panels for each network and its initial weights."""
    curves = [row for row in records.read(HERE / "curves.csv") if row["split"] == "train"]
    norms = records.read(HERE / "gradients.csv")
    nets = list(dict.fromkeys(row["set"].rpartition("/")[0] for row in curves))
    size = (10, 0.6 + 4.2 * len(nets))
    figure, panels = plots.pyplot().subplots(len(nets), 2, figsize=size, squeeze=False)
    for (left, right), net in zip(panels, nets, strict=True):
        errors(left, [row for row in curves if row["set"].startswith(f"{net}/")])
        gradients(right, [row for row in norms if row["set"].startswith(f"{net}/")])
        name, _, weights = net.partition("/")
        left.set_title(f"{name}, {weights} initial weights", loc="left", fontsize=12)
        right.set_title("one batch an epoch, mean until 25 %", loc="left", fontsize=12)
    plots.save(figure, HERE / "fig1.png")


if __name__ == "__main__":
    main()
