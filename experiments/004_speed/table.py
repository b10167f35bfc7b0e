"""Writes the README's table and speed.png from the JSON files in this folder.

python experiments/004_speed/table.py
"""

import json
import re
from pathlib import Path
from typing import Any

from lenet_alexnet import plots

FOLDER = Path(__file__).parent
HEADER = """| measured | batch | images/s | against | images/s | ratio | of GEMM | load | commit |
|---|---|---|---|---|---|---|---|---|
"""


def rows(path: Path) -> list[str]:
    """A row for each ratio of each group of one file."""
    everything = json.loads(path.read_text())
    flags = [flag.partition("=") for flag in everything["command"]]
    variants = [value for name, _, value in flags if name == "--variant"]
    lines = []
    for found in everything["results"]:
        rates = {one["name"]: one["rate"] for one in found["rates"]}
        load = " to ".join(f"{n:.0f}" for n in found["load"])
        share = f"{100 * found['share_of_gemm']:.0f} %"
        for one in found["ratios"]:
            spread = f"{one['median']:.2f} ({one['lowest']:.2f} .. {one['highest']:.2f})"
            cells = [
                f"{' '.join([found['subject'], *variants])}: {one['of']}",
                str(found["batch"]),
                number(rates[one["of"]]),
                one["to"],
                number(rates[one["to"]]),
                spread,
                share,
                load,
                everything["git_commit"][:12],
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def number(rate: float) -> str:
    """With one decimal below 100."""
    return f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}"


def peers(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rates of PyTorch's forms in a group."""
    return [one for one in found["rates"] if one["name"].startswith("PyTorch")]


def draw() -> None:
    """LeNet-5 by batch size, and AlexNet, with the lowest and the highest of the turns."""
    results = {
        name: json.loads((FOLDER / f"{name}.json").read_text())["results"]
        for name in ("lenet5", "lenet5_blocks", "alexnet")
    }
    ours = {
        name: [(found["batch"], found["rates"][1]) for found in results[name]]
        for name in ("lenet5", "lenet5_blocks")
    }
    best = [
        (found["batch"], max(peers(found), key=lambda one: one["rate"]))
        for found in results["lenet5"]
    ]
    figure, (left, right) = plots.pyplot().subplots(1, 2, figsize=(11, 4.5), width_ratios=(3, 2))
    for points, label, colour in (
        (ours["lenet5"], "ours, loops in C++", plots.BLUE),
        (ours["lenet5_blocks"], "ours, matrix products", plots.SKY),
        (best, "PyTorch, its best form", plots.VERMILLION),
    ):
        batches, rates = [batch for batch, _ in points], [one for _, one in points]
        left.errorbar(batches, **bars(rates), label=label, color=colour, marker="o", capsize=4)
    left.set_xscale("log", base=2)
    left.set_xticks(batches, [str(batch) for batch in batches])
    left.set(title="LeNet-5", xlabel="batch", ylabel="images a second", ylim=(0, None))
    left.legend()
    (found,) = results["alexnet"]
    rates = [found["rates"][1], *peers(found)]
    names = [
        "ours",
        *(one["name"].replace("PyTorch ", "").replace(", ", ",\n") for one in peers(found)),
    ]
    colours = [plots.BLUE, *[plots.VERMILLION] * (len(rates) - 1)]
    spread = bars(rates)
    right.bar(names, spread["y"], yerr=spread["yerr"], color=colours, capsize=4)
    right.tick_params("x", labelsize=8)
    right.set(title=f"AlexNet, batch {found['batch']} (orange: PyTorch)", ylabel="images a second")
    plots.save(figure, FOLDER / "speed.png")


def bars(rates: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and the distances of the lowest and the highest from them."""
    medians = [one["rate"] for one in rates]
    lower = [one["rate"] - one["lowest"] for one in rates]
    return {"y": medians, "yerr": [lower, [one["highest"] - one["rate"] for one in rates]]}


def main() -> None:
    """Replaces the text between the two marks; draws speed.png."""
    draw()
    lines = [row for path in sorted(FOLDER.glob("*.json")) for row in rows(path)]
    readme = FOLDER / "README.md"
    table = f"<!-- speed -->\n{HEADER}" + "\n".join(lines) + "\n<!-- end -->"
    text = re.sub(r"<!-- speed -->.*<!-- end -->", lambda _: table, readme.read_text(), flags=re.S)
    readme.write_text(text)


if __name__ == "__main__":
    main()
