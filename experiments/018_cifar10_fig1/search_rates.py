"""The learning rate of each arm of Fig. 1, by epochs to 25 % training error, in selection.csv.

    python experiments/018_cifar10_fig1/search_rates.py runs/fig1_search D 19pct/own/relu ...

D is the folder of the prepared data; without arms all are searched, one after the other. It can be
stopped at any time: a trial in runs/fig1_search/selection.csv is not run again, and one that was
begun resumes.
"""

import csv
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lenet_alexnet.errors import UsageError
from lenet_alexnet.reproduce import cifar10_fig1 as fig1
from lenet_alexnet.reproduce.fig1 import GOAL
from lenet_alexnet.runs.checkout import checkout
from lenet_alexnet.runs.directory import read_summary

ROOT = Path(__file__).parents[2]
SEED = 100  # not the seed of any reported run
FIELDS = ("arm", "learning_rate", "seed", "epochs_to_25_percent", "watched", "error", "commit")


def train(arm: str, rate: float, best: float, workdir: Path, data_dir: str) -> dict[str, Any]:
    """Runs one trial until the error reaches the line or `best` epochs are over."""
    folder = workdir / arm.replace("/", "_") / f"{rate:.6g}"
    flat = fig1.changes(arm) | {
        "optimizer.learning_rate": rate,
        "seed": SEED,
        "data.data_dir": data_dir,
        "train.duration": f"{fig1.LONGEST} epochs",
    }
    flags = [f"--config.{key}={value}" for key, value in flat.items()]
    config = ROOT / "configs" / fig1.CONFIG
    command = [sys.executable, "-m", "lenet_alexnet", "train", f"--config={config}"]
    process = subprocess.Popen([*command, f"--workdir={folder}", *flags], cwd=ROOT)
    stopped = False
    while process.poll() is None:
        points = _errors(folder)
        if points and not stopped and (points[-1][1] <= GOAL or points[-1][0] >= best):
            process.send_signal(signal.SIGTERM)
            stopped = True
        time.sleep(2)
    points = _errors(folder)
    if process.returncode and not stopped and not _diverged(folder):
        sys.exit(f"error: {arm} at {rate:g} ended with {process.returncode}")
    points = points or [(0, 1.0)]  # It diverged in the first epoch.
    reached = next((epoch for epoch, error in points if error <= GOAL), math.inf)
    return {
        "arm": arm,
        "learning_rate": f"{rate:.6g}",
        "seed": SEED,
        "epochs_to_25_percent": reached,
        "watched": points[-1][0],
        "error": round(points[-1][1], 4),
        "commit": checkout()["git_commit"],
    }


def _diverged(folder: Path) -> bool:
    try:
        return read_summary(folder / "summary.json")["status"] == "diverged"
    except UsageError:
        return False


def _errors(folder: Path) -> list[tuple[int, float]]:
    """(epoch, training error in it) of the complete epochs."""
    try:
        text = (folder / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return []
    rows = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return [(round(r["epoch"]), r["top1_error"]) for r in rows if r["split"] == "train"]


def search(arm: str, workdir: Path, data_dir: str) -> float:
    """Goes up or down in factors of 1.5 until both neighbours of the best rate are worse."""
    while True:
        tried = fig1.trials(arm, _rows(workdir))
        power = fig1.next_power(tried)
        if power is None:
            return fig1.rate(arm, fig1.best(tried))
        limit = min((trial.epochs for trial in tried.values()), default=math.inf)
        row = train(arm, fig1.rate(arm, power), min(limit, fig1.LONGEST), workdir, data_dir)
        _append(workdir, row)


def _rows(workdir: Path) -> list[dict[str, str]]:
    path = workdir / "selection.csv"
    return list(csv.DictReader(path.open())) if path.exists() else []


def _append(workdir: Path, row: dict[str, Any]) -> None:
    path = workdir / "selection.csv"
    new = not path.exists()
    with path.open("a") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def main(workdir: str, data_dir: str, *arms: str) -> None:
    """Searches the arms in turn and prints each one's rate."""
    for arm in arms or fig1.ARMS:
        rate = search(arm, Path(workdir).resolve(), str(Path(data_dir).resolve()))
        print(f"{arm}: {rate:.6g}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
