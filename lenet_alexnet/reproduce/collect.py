"""Gathers run records into an experiment's results.csv and writes its tables into Markdown.

    python -m lenet_alexnet.reproduce.collect gather experiments/001_lenet5_mnist runs/mnist ...
    python -m lenet_alexnet.reproduce.collect tables

`gather` reads every run directory below the given folders; the set is named like the folder.
`tables` rewrites the text between `<!-- results:... -->` and `<!-- end -->` in README.md and
experiments/**/README.md, only from the committed results.csv files.
"""

import sys
from pathlib import Path

from lenet_alexnet.errors import LenetAlexnetError
from lenet_alexnet.reproduce import records

ROOT = Path(__file__).parents[2]


def tables() -> None:
    """Rewrites the generated parts of the Markdown files."""
    for path in [ROOT / "README.md", *sorted(ROOT.glob("experiments/**/README.md"))]:
        old = path.read_text()
        new = records.rendered(old, ROOT)
        if new != old:
            path.write_text(new)
            print(f"rewritten: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["gather", experiment, *folders] if folders:
            try:
                found = records.gather({Path(folder).name: Path(folder) for folder in folders})
            except LenetAlexnetError as error:
                sys.exit(str(error))
            records.save(Path(experiment), *found)
        case ["tables"]:
            tables()
        case _:
            sys.exit(__doc__)
