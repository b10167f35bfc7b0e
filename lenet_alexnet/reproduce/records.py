"""Run records as files of experiments/: results.csv (one row per run), curves.csv, tables."""

import csv
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lenet_alexnet.errors import DataError
from lenet_alexnet.runs.directory import read_json, read_summary
from lenet_alexnet.runs.metrics import read_rows
from lenet_alexnet.runtime import storage

FIELDS = (
    "set",
    "seed",
    "step",
    "epoch",
    "train_error",
    "test_error",
    "test_loss",
    "examples",
    "train_seconds",
    "compile_seconds",
    "side_by_side",
    "commit",
    "dirty",
    "jax",
    "python",
    "cpu_count",
    "device",
    "config_hash",
)
CURVE_FIELDS = ("set", "seed", "epoch", "split", "error", "loss")
Records = list[dict[str, Any]]
# Of a run whose config has no data to evaluate on: it is about training alone.
NOT_EVALUATED = dict.fromkeys(("top1_error", "loss", "examples"), "")


def gather(folders: Mapping[str, Path], *, clean: bool = True) -> tuple[Records, Records]:
    """The rows of results.csv and of curves.csv (one per evaluation and, about, per epoch).

    Args:
      folders: for each set, the folder above its runs.
      clean: refuse runs from a changed checkout.

    Raises:
      DataError: a run that did not complete, came from a changed checkout, or has a damaged log.
      UsageError: a run whose files are damaged.
    """
    results: Records = []
    curves: Records = []
    for label, folder in folders.items():
        for path in sorted(folder.glob("**/summary.json")):
            summary = read_summary(path)
            if summary["status"] != "completed":
                raise DataError(f"{path.parent}: {summary['status']}, so it proves nothing")
            run = read_json(path.parent / "run.json", "git_dirty", git_dirty=bool, versions=dict)
            rows = read_rows(path.parent / "metrics.jsonl")
            if clean and run["git_dirty"]:
                raise DataError(f"{path.parent}: run from a changed checkout, so it proves nothing")
            try:
                results.append(_result(label, summary | _tested(path.parent, summary), run, rows))
                curves += _curve(label, summary["seed"], rows)
            except (KeyError, TypeError, IndexError) as error:
                raise DataError(f"{path.parent}: its files are incomplete ({error!r})") from error
    return results, curves


def _curve(label: str, seed: int, rows: Records) -> Records:
    return [
        {
            "set": label,
            "seed": seed,
            "epoch": row["epoch"],
            "split": row["split"],
            "error": row["top1_error"],
            "loss": row["loss"],
        }
        for row in rows
        if row["split"] != "train" or abs(row["epoch"] - round(row["epoch"])) < 0.05
    ]


def _tested(folder: Path, summary: Any) -> dict[str, Any]:
    """What to add to a summary without results, if the run's config asks for none."""
    if summary["eval"]:
        return {}
    data = read_json(folder / "config.json", "data", data=dict)["data"]
    return {} if data["test"] or data["validation"] else {"eval": {"test": NOT_EVALUATED}}


def _result(label: str, summary: Any, run: Any, rows: Records) -> dict[str, Any]:
    split = "test" if "test" in summary["eval"] else "validation"
    test = summary["eval"][split]
    trained = [row for row in rows if row["split"] == "train"]
    return {
        "set": label,
        "seed": summary["seed"],
        "step": summary["step"],
        "epoch": summary["epoch"],
        "train_error": trained[-1]["top1_error"],
        f"{split}_error": test["top1_error"],
        f"{split}_loss": test["loss"],
        "examples": test["examples"],
        "train_seconds": summary.get("train_seconds", summary.get("wall_seconds")),
        "compile_seconds": summary.get("compile_seconds"),
        "side_by_side": summary.get("side_by_side", 1),
        "commit": (run["git_commit"] or "")[:12],
        "dirty": run["git_dirty"],
        "jax": run["versions"]["jax"],
        "python": run["versions"]["python"],
        "cpu_count": run["cpu_count"],
        "device": run["devices"][0],
        "config_hash": summary["config_hash"],
    }


def save(folder: Path, results: Records, curves: Records) -> None:
    """Writes results.csv and curves.csv."""
    fields: tuple[str, ...] = FIELDS
    if results and "validation_error" in results[0]:
        fields = tuple(field.replace("test_", "validation_") for field in FIELDS)
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns, rows in (
        ("results.csv", fields, results),
        ("curves.csv", CURVE_FIELDS, curves),
    ):
        with storage.written_whole(folder / name, newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def merged(folder: Path, results: Records, curves: Records) -> tuple[Records, Records]:
    """Adds the rows of other sets in `folder`: an experiment may serve several claims.

    Raises:
      DataError: `folder` has more runs of a set than the new rows.
    """
    now = Counter(row["set"] for row in results)
    before = read(folder / "results.csv")
    for label, n in Counter(row["set"] for row in before).items():
        if label in now and now[label] < n:
            raise DataError(
                f"{folder} already has {n} runs of '{label}', more than these {now[label]}"
            )
    kept = [row for row in before if row["set"] not in now]
    kept_curves = [row for row in read(folder / "curves.csv") if row["set"] not in now]
    return kept + results, kept_curves + curves


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """One row per set: test (or validation) error in per cent, mean and deviation over seeds."""
    sets: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        sets.setdefault(row["set"], []).append(row)
    split = "test" if "test_error" in rows[0] else "validation"
    lines = [
        f"| set | passes | {split} error, % | n | training error, % | minutes | commit |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, members in sets.items():
        minutes = statistics.mean(float(row["train_seconds"]) for row in members) / 60
        together = int(members[0]["side_by_side"])
        time = f"{minutes:.1f}" + (f" ({together} at once)" if together > 1 else "")
        first = members[0]
        lines.append(
            f"| {name} | {float(first['epoch']):.4g} | {_spread(members, split + '_error')} "
            f"| {len(members)} | {_spread(members, 'train_error')} | {time} | {first['commit']} |"
        )
    return "\n".join(lines)


def _spread(rows: Sequence[Mapping[str, str]], field: str) -> str:
    values = [100 * float(row[field]) for row in rows if row[field]]
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def rendered(text: str, root: Path) -> str:
    """A Markdown text with every generated part written again from the files below `root`."""
    return re.sub(
        r"(<!-- results:(\S+) -->\n).*?(<!-- end -->)",
        lambda m: f"{m[1]}{table(read(root / 'experiments' / m[2] / 'results.csv'))}\n{m[3]}",
        text,
        flags=re.DOTALL,
    )
