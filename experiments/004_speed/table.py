"""Writes the README's table from the JSON files beside it: python experiments/004_speed/table.py"""

import json
import re
from pathlib import Path

FOLDER = Path(__file__).parent
HEADER = """| measured | batch | images/s | beside | images/s | ratio | of GEMM | load | commit |
|---|---|---|---|---|---|---|---|---|
"""


def rows(path: Path) -> list[str]:
    """A row for each ratio of each group of one file."""
    everything = json.loads(path.read_text())
    lines = []
    for found in everything["results"]:
        rates = {one["name"]: one["rate"] for one in found["rates"]}
        load = " to ".join(f"{n:.0f}" for n in found["load"])
        share = f"{100 * found['share_of_gemm']:.0f} %"
        for one in found["ratios"]:
            spread = f"{one['median']:.2f} ({one['lowest']:.2f} .. {one['highest']:.2f})"
            cells = [
                f"{found['subject']}: {one['of']}", str(found["batch"]), number(rates[one["of"]]),
                one["to"], number(rates[one["to"]]), spread, share, load,
                everything["git_commit"][:12],
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def number(rate: float) -> str:
    """With a digit after the point where it counts."""
    return f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}"


def main() -> None:
    """Replaces what stands between the two marks."""
    lines = [row for path in sorted(FOLDER.glob("*.json")) for row in rows(path)]
    readme = FOLDER / "README.md"
    table = f"<!-- speed -->\n{HEADER}" + "\n".join(lines) + "\n<!-- end -->"
    text = re.sub(r"<!-- speed -->.*<!-- end -->", lambda _: table, readme.read_text(), flags=re.S)
    readme.write_text(text)


if __name__ == "__main__":
    main()
