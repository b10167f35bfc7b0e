"""The command line. Each module is a command and exports its COMMAND; only these have flags."""

from lenet_alexnet.cli.entry import main, run

__all__ = ["main", "run"]
