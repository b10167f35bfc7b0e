"""What each mode sends: compiled for up to 8 simulated devices, by formulas for up to 64.

python experiments/005_parallel_modes/run.py
"""

import csv
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from lenet_alexnet import config as configs
from lenet_alexnet.info import network, step_cost
from lenet_alexnet.models import create_model
from lenet_alexnet.runtime import backend

HERE = Path(__file__).parent
DEVICES, COMPILED = (1, 2, 4, 8, 16, 32, 64), 8
BATCHES = {"128 on each device": lambda n: 128 * n, "1024 in all": lambda n: 1024}
MODES = {"dp": ("o-", "#0072b2"), "tower": ("s--", "#d55e00"), "owt": ("^:", "#009e73")}


def measure() -> list[dict]:
    """A row for each batch, mode and number of devices."""
    backend.simulate_devices(COMPILED)
    backend.set_up()
    rows = []
    config = configs.load("configs/alexnet_imagenet.py").get_config().unlock()
    model = create_model(precision=config.train.precision, **config.model)
    description = network.describe(model, model.input_shape)
    size = step_cost.sizes(model, description)
    for batches, batch_of in BATCHES.items():
        for mode in MODES:
            for n in DEVICES:
                if n == 1 and mode != "dp":
                    continue
                batch = batch_of(n)
                formula = step_cost.formula_sent(mode, size, n, batch)
                row = {
                    "batch": batches,
                    "mode": mode,
                    "devices": n,
                    "multiply_adds": 3 * batch * description["total_multiply_adds"] // n,
                    "sent_by_formula": formula,
                }
                if n <= COMPILED:
                    config.parallel.mode, config.train.batch_size = mode, batch
                    result = step_cost.analyse(config, n)
                    row |= {
                        "sent_compiled": result["sent_bytes"],
                        "param_bytes": result["param_bytes"],
                        "optimizer_bytes": result["optimizer_bytes"],
                        "peak_bytes": result["peak_bytes"],
                        "exchanges": result["exchanges"],
                    }
                rows.append(row)
                print(row, flush=True)
    return rows


def draw(rows: list[dict]) -> None:
    """Megabytes sent by each device against the number of devices."""
    mpl.use("Agg")
    figure, both = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
    for axes, batches in zip(both, BATCHES, strict=True):
        for mode, (style, colour) in MODES.items():
            points = [
                (row["devices"], row["sent_by_formula"] / 1e6)
                for row in rows
                if (row["batch"], row["mode"]) == (batches, mode) and row["devices"] > 1
            ]
            axes.plot(*zip(*points, strict=True), style, color=colour, label=mode)
        axes.set(xscale="log", yscale="log", xlabel="devices", title=f"batch: {batches}")
        axes.set_xticks(DEVICES[1:], [str(n) for n in DEVICES[1:]])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    both[0].set_ylabel("sent by each device in a step, MB")
    both[0].legend()
    figure.savefig(HERE / "sent.png", dpi=150)


def main() -> None:
    """Writes sent.csv and sent.png."""
    rows = measure()
    with (HERE / "sent.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, max(rows, key=len))
        writer.writeheader()
        writer.writerows(rows)
    draw(rows)


if __name__ == "__main__":
    main()
