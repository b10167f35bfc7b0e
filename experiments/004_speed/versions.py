"""Training speed under two installations (two versions of JAX), in turns: versions.txt.

python experiments/004_speed/versions.py .venv .venv-3.13 > experiments/004_speed/versions.txt
"""

import json
import statistics
import subprocess
import sys

TURNS = 3
SUBJECTS = {
    "lenet5, batch 128": ("lenet5", "--batch=128"),
    "alexnet, batch 32": ("alexnet", "--batch=32", "--seconds=1.5"),
    "cifar 19pct, batch 128": ("cifar", "--variant=19pct", "--batch=128", "--seconds=1"),
    "16 runs of lenet5": ("sweep", "--runs=16", "--seconds=1.5"),
}


def measured(venv: str, subject: tuple[str, ...]) -> tuple[float, dict]:
    """Images a second of the subject's fastest line, and the versions."""
    command = [f"{venv}/bin/lenet-alexnet", "bench", *subject, "--repeats=3", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    ours = ("many steps a call", "16 runs")
    (rate,) = [r["rate"] for r in report["results"][0]["rates"] if r["name"] in ours]
    return rate, report


def main(first: str, second: str) -> None:
    """A line for each subject: medians, and the ratio of the second to the first, turn by turn."""
    for title, subject in SUBJECTS.items():
        turns = []
        for _ in range(TURNS):
            (a, before), (b, after) = measured(first, subject), measured(second, subject)
            turns.append((a, b))
        names = [
            "Python {python}, jaxlib {jaxlib}".format(**report["versions"])
            for report in (before, after)
        ]
        medians = [statistics.median(rates) for rates in zip(*turns, strict=True)]
        ratios = sorted(b / a for a, b in turns)
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} .. {ratios[-1]:.2f})"
        print(
            f"{title}: {medians[1]:,.0f} images/s with {names[1]}, {medians[0]:,.0f} with "
            f"{names[0]}, ratio {ratio}, {TURNS} turns, commit {after['git_commit'][:12]}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
