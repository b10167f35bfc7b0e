"""Puts configs/ and the run records of experiments/ into the package, as lenet_alexnet/shipped/.

An editable installation has them where they are. Everything else is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "configs/**/*.py",
    "experiments/*/results.csv",
    "experiments/*/curves.csv",
    # From these follow the settings of a claim's runs.
    "experiments/018_cifar10_fig1/selection.csv",
    "experiments/019_cifar10_13_to_11/selection.csv",
    "experiments/020_cifar10_one_change/selection.csv",
)
TARGET = "lenet_alexnet/shipped"


def shipped() -> list[str]:
    """The files to ship, relative to this folder."""
    return sorted(str(path) for pattern in SHIPPED for path in Path().glob(pattern))


class BuildWithConfigs(build_py):
    """Builds the package with the files in it; an sdist has them at their places."""

    def run(self) -> None:
        """Copies the package's files, and those to ship."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, TARGET)
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build in the same folder
        for file in shipped():
            self.mkpath(str(target / Path(file).parent))
            self.copy_file(file, str(target / file))

    def get_source_files(self) -> list[str]:
        """The files that an sdist has, too."""
        return [*super().get_source_files(), *shipped()]


setup(cmdclass={"build_py": BuildWithConfigs})
