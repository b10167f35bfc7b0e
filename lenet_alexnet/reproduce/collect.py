"""Gathers run records into an experiment's results.csv and writes its tables into Markdown.

    python -m lenet_alexnet.reproduce.collect gather experiments/001_lenet5_mnist runs/mnist ...
    python -m lenet_alexnet.reproduce.collect select 020_cifar10_one_change runs/one_change
    python -m lenet_alexnet.reproduce.collect tables

`gather` reads every run directory below the given folders; the set is named like the folder.
`select` records what the sweep of an experiment tried, in its selection.csv.
`tables` rewrites the text between `<!-- results:... -->` and `<!-- end -->` in README.md and
experiments/**/README.md, only from the committed results.csv files.
"""

import sys
from pathlib import Path

from lenet_alexnet.errors import LenetAlexnetError, UsageError, nearest
from lenet_alexnet.reproduce import cifar10_13_to_11, cifar10_one_change, records, selection

ROOT = Path(__file__).parents[2]
SELECTIONS = {
    one.experiment: one for one in (cifar10_13_to_11.SELECTION, cifar10_one_change.SELECTION)
}


def select(experiment: str, workdir: Path) -> None:
    """Writes the selection.csv of an experiment and prints the setting of each arm.

    Raises:
      UsageError: no sweep chooses settings for this experiment, or none of it has run.
    """
    if experiment not in SELECTIONS:
        raise UsageError(f"no sweep chooses for '{experiment}': {nearest(experiment, SELECTIONS)}")
    one = SELECTIONS[experiment]
    rows = one.gather(workdir)
    if not rows:
        raise UsageError(f"'{workdir}' has no trial of this experiment that ended")
    folder = ROOT / "experiments" / experiment
    selection.save(rows, folder)
    for arm, setting in one.chosen(records.read(folder / selection.RECORD)).items():
        print(f"{arm}: " + ", ".join(f"{key}={value}" for key, value in setting.items()))


def tables() -> None:
    """Rewrites the generated parts of the Markdown files."""
    for path in [ROOT / "README.md", *sorted(ROOT.glob("experiments/**/README.md"))]:
        old = path.read_text()
        new = records.rendered(old, ROOT)
        if new != old:
            path.write_text(new)
            print(f"rewritten: {path.relative_to(ROOT)}")


def main(arguments: list[str]) -> None:
    """Runs one of the three."""
    match arguments:
        case ["gather", experiment, *folders] if folders:
            found = records.gather({Path(folder).name: Path(folder) for folder in folders})
            records.save(Path(experiment), *found)
        case ["select", experiment, folder]:
            select(experiment, Path(folder))
        case ["tables"]:
            tables()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LenetAlexnetError as error:
        sys.exit(str(error))
