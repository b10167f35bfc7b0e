"""The gradient's norm in each layer during the runs of Fig. 1, as gradients.csv.

python experiments/018_cifar10_fig1/gradients.py runs/reproduce/alexnet_fig1

For each run and layer the geometric mean over the epochs until its training error is 25 %, or over
all epochs if it does not get there. A run logs the norm for one batch an epoch, the last.
"""

import csv
import statistics
import sys
from pathlib import Path
from typing import Any

from lenet_alexnet.reproduce import cifar10_fig1 as fig1
from lenet_alexnet.reproduce.fig1 import GOAL
from lenet_alexnet.runs.metrics import read_rows

HERE = Path(__file__).parent
FIELDS = ("set", "seed", "layer", "epochs", "gradient_norm")


def until_the_goal(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The training rows up to the first one at the goal."""
    trained = [row for row in rows if row["split"] == "train"]
    reached = next((i for i, row in enumerate(trained) if row["top1_error"] <= GOAL), len(trained))
    return trained[: reached + 1]


def main(workdir: str) -> None:
    """Writes a row for each run and layer."""
    with (HERE / "gradients.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        for arm in fig1.ARMS:
            for folder in sorted((Path(workdir) / arm).glob("seed_*")):
                rows = until_the_goal(read_rows(folder / "metrics.jsonl"))
                for layer in rows[0]["gradient_norm"]:
                    norm = statistics.geometric_mean(row["gradient_norm"][layer] for row in rows)
                    values = (
                        arm,
                        folder.name.removeprefix("seed_"),
                        layer,
                        len(rows),
                        f"{norm:.6g}",
                    )
                    writer.writerow(dict(zip(FIELDS, values, strict=True)))


if __name__ == "__main__":
    main(*sys.argv[1:])
