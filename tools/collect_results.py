"""Gathers run records into an experiment's results.csv and writes its tables into Markdown.

    python tools/collect_results.py gather experiments/001_lenet5_mnist runs/lenet5_mnist ...
    python tools/collect_results.py tables

`gather` reads every run directory below the given folders. `tables` rewrites, from the committed
results.csv files alone, what stands between `<!-- results:... -->` and `<!-- end -->` in README.md
and experiments/**/README.md.
"""

import csv
import json
import re
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIELDS = (
    "set", "seed", "step", "epoch", "train_error", "test_error", "test_loss", "examples",
    "train_seconds", "compile_seconds", "side_by_side", "commit", "dirty", "jax", "python",
    "cpu_count", "config_hash",
)  # fmt: skip


def gather(experiment: Path, folders: Iterable[Path]) -> None:
    """Writes results.csv (a row a run) and curves.csv (a row an evaluation or, nearly, epoch)."""
    results, curves = [], []
    for folder in folders:
        for path in sorted(folder.glob("**/summary.json")):
            summary = json.loads(path.read_text())
            run = json.loads((path.parent / "run.json").read_text())
            lines = (path.parent / "metrics.jsonl").read_text().splitlines()
            rows = [json.loads(line) for line in lines]
            if summary["status"] != "completed" or run["git_dirty"]:
                sys.exit(f"{path}: {summary['status']}, dirty: {run['git_dirty']}")
            split = "test" if "test" in summary["eval"] else "validation"
            test = summary["eval"][split]
            trained = [row for row in rows if row["split"] == "train"]
            results.append(
                {
                    "set": folder.name,
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
                    "commit": run["git_commit"][:12],
                    "dirty": run["git_dirty"],
                    "jax": run["versions"]["jax"],
                    "python": run["versions"]["python"],
                    "cpu_count": run["cpu_count"],
                    "config_hash": summary["config_hash"],
                }
            )
            curves += [
                {
                    "set": folder.name,
                    "seed": summary["seed"],
                    "epoch": row["epoch"],
                    "split": row["split"],
                    "error": row["top1_error"],
                    "loss": row["loss"],
                }
                for row in rows
                if row["split"] != "train" or abs(row["epoch"] - round(row["epoch"])) < 0.05
            ]
    fields = tuple(FIELDS)
    if results and "validation_error" in results[0]:
        fields = tuple(field.replace("test_", "validation_") for field in FIELDS)
    write(experiment / "results.csv", fields, results)
    write(experiment / "curves.csv", ("set", "seed", "epoch", "split", "error", "loss"), curves)


def write(path: Path, fields: tuple[str, ...], rows: list[dict]) -> None:
    """A CSV file with a header."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def summary_table(experiment: Path) -> str:
    """A row a set: test (or validation) error in per cent, mean and deviation over the seeds."""
    sets: dict[str, list[dict[str, str]]] = {}
    for row in read(experiment / "results.csv"):
        sets.setdefault(row["set"], []).append(row)
    split = "test" if "test_error" in next(iter(sets.values()))[0] else "validation"
    lines = [
        f"| set | passes | {split} error, % | n | training error, % | minutes | commit |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rows in sets.items():
        minutes = statistics.mean(float(row["train_seconds"]) for row in rows) / 60
        together = int(rows[0]["side_by_side"])
        time = f"{minutes:.1f}" + (f" ({together} at once)" if together > 1 else "")
        lines.append(
            f"| {name} | {float(rows[0]['epoch']):.4g} | {spread(rows, split + '_error')} "
            f"| {len(rows)} | {spread(rows, 'train_error')} | {time} | {rows[0]['commit']} |"
        )
    return "\n".join(lines)


def spread(rows: list[dict[str, str]], field: str) -> str:
    """Mean +- standard deviation of a fraction, in per cent."""
    values = [100 * float(row[field]) for row in rows]
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def tables() -> None:
    """Rewrites the generated parts of the Markdown files."""
    for path in [ROOT / "README.md", *sorted(ROOT.glob("experiments/**/README.md"))]:
        old = path.read_text()
        new = rendered(old)
        if new != old:
            path.write_text(new)
            print(f"rewritten: {path.relative_to(ROOT)}")


def rendered(text: str) -> str:
    """The text with every generated part made anew."""
    return re.sub(
        r"(<!-- results:(\S+) -->\n).*?(<!-- end -->)",
        lambda m: f"{m[1]}{summary_table(ROOT / 'experiments' / m[2])}\n{m[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["gather", experiment, *folders] if folders:
            gather(Path(experiment), map(Path, folders))
        case ["tables"]:
            tables()
        case _:
            sys.exit(__doc__)
