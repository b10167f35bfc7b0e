"""`python -m lenet_alexnet COMMAND ...`, the same as the console script `lenet-alexnet`."""

import os
import sys
from pathlib import Path

# With -m Python looks for modules in the current folder first; the console script does not.
_HERE, _ABOVE = os.getcwd(), str(Path(__file__).resolve().parents[1])
if not sys.flags.safe_path and sys.path[0] in ("", _HERE) and _HERE != _ABOVE:
    del sys.path[0]

from lenet_alexnet.cli import run  # noqa: E402

if __name__ == "__main__":
    run()
