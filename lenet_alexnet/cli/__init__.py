"""The command line: the only place with flags. One module a command, each exporting its COMMAND."""

from lenet_alexnet.cli.entry import main, run

__all__ = ["main", "run"]
