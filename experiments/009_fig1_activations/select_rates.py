"""The rates of the two sweeps by the quantity of Fig. 1: prints the trials and the choice.

python experiments/009_fig1_activations/select_rates.py runs/activation > selection.csv
"""

import math
import sys
from pathlib import Path

from lenet_alexnet.reproduce import records
from lenet_alexnet.reproduce.fig1 import GOAL, best_rate, epochs_to
from lenet_alexnet.runs.directory import read_json


def main(sweep: str) -> None:
    """Prints a row for each trial to standard output, the chosen rates to standard error."""
    folders = {path.parent.name: path.parent for path in Path(sweep).glob("trials/*/summary.json")}
    if not folders:
        sys.exit(f"error: no trials below '{sweep}/trials'")
    results, curves = records.gather(folders)
    epochs = epochs_to(GOAL, curves)
    tried: dict[str, list[tuple[float, float, float]]] = {}
    print("activation,learning_rate,seed,epochs,train_error,first_epoch_at_25_percent,commit")
    for row in sorted(results, key=lambda row: row["set"]):
        config = read_json(folders[row["set"]] / "config.json")
        activation, rate = config["model"]["activation"], config["optimizer"]["learning_rate"]
        (reached,) = epochs[row["set"]]
        # Whole epochs, as the error of an epoch is known at its end.
        whole = math.ceil(reached) if math.isfinite(reached) else math.inf
        tried.setdefault(activation, []).append((rate, whole, row["train_error"]))
        first = whole if math.isfinite(whole) else ""
        print(
            f"{activation},{rate},{row['seed']},{row['epoch']:.0f},{row['train_error']:.4g},"
            f"{first},{row['commit']}"
        )
    for activation, rates in tried.items():
        print(f"{activation}: {best_rate(rates)}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
