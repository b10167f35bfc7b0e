"""The recipes of containers: their commands are followed in a fresh virtual environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tests.helpers import ROOT

DOCKERFILE, APPTAINER = ROOT / "docs/files/Dockerfile", ROOT / "docs/files/apptainer.def"
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "ARG", "ENV", "ENTRYPOINT"}
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")
FOLDERS = ("lenet_alexnet", "configs", "experiments")
EXTRA = re.compile(r"EXTRA=(\w+)")


def instructions():
    """(word, rest) of each line of the Dockerfile."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


def sections():
    """The lines of each section of Apptainer's file."""
    found = re.findall(r"^%(\w+)\n((?:    .*\n|\n)*)", APPTAINER.read_text(), re.MULTILINE)
    return {name: [line.strip() for line in text.splitlines() if line] for name, text in found}


def test_the_recipes_are_well_formed():
    assert {word for word, _ in instructions()} == INSTRUCTIONS
    assert sections().keys() == {"arguments", "files", "post", "environment", "runscript"}
    scripts = [rest for word, rest in instructions() if word == "RUN"]
    for script in (*scripts, "\n".join(sections()["post"]), *sections()["runscript"]):
        subprocess.run(["bash", "-n", "-c", script], check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for file in (DOCKERFILE, APPTAINER):
        assert EXTRA.search(file.read_text())[1] in project["optional-dependencies"]


def the_recipes_packages_are_here():
    """Whether the packages here have the versions that the recipes install.

    Otherwise pip would write the recipes' versions through the links into this environment.
    """
    versions = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    here = {package.name: package.version for package in metadata.distributions()}
    return all(here.get(name, version) == version for name, version in versions.items())


class Image:
    """A folder in place of a container's files, with a virtual environment in place of its Python.

    What is installed here is linked into it, except this package: pip finds that all is there.
    """

    def __init__(self, folder):
        self.root, self.venv = folder / "root", folder / "venv"
        self.root.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.venv], check=True)
        (target,) = self.venv.glob("lib/python*/site-packages")
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if not path.name.startswith(("lenet_alexnet", "__editable__")):
                (target / path.name).symlink_to(path)
        pip = self.venv / "bin" / "pip"
        pip.write_text(f'#!/bin/sh\nexec {self.venv}/bin/python -m pip "$@"\n')
        pip.chmod(0o755)

    def run(self, command, folder="."):
        """Runs a command of a recipe; what needs root is left out."""
        kept = [part for part in command.splitlines() if "apt-get" not in part]
        script = re.sub(r"(?<![\w./])/(?=wheel|opt/)", f"{self.root}/", "\n".join(kept))
        environment = {"PATH": f"{self.venv}/bin:{os.environ['PATH']}", "EXTRA": ""}
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self.root / folder.lstrip("/"),
            env=environment | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", ""), "CXX": "none"},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def copy(self, name, target):
        """Copies from the repository."""
        target = self.root / target.lstrip("/")
        for each in (*SOURCES, *FOLDERS) if name == "." else (name,):
            place = target / each if name == "." or target.is_dir() else target
            if (ROOT / each).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / each, place, ignore=ignored)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / each, place)


def follow_docker(image):
    folder, command = "", []
    for word, rest in instructions():
        if word == "WORKDIR":
            folder = rest
            (image.root / folder.lstrip("/")).mkdir(parents=True)
        elif word == "RUN":
            image.run(rest, folder)
        elif word == "COPY" and not rest.startswith("--from="):  # All stages are in one folder.
            *names, target = rest.split()
            for name in names:
                image.copy(name, os.path.join(folder, target))
        elif word == "ENTRYPOINT":
            command = json.loads(rest)
    return " ".join(command)


def follow_apptainer(image):
    (first,) = re.findall(r"#   \.venv/bin/(pip wheel .*)", APPTAINER.read_text())
    image.copy(".", "/repository")
    image.run(first, "/repository")
    for line in sections()["files"]:
        name, target = line.split()
        if name == "dist":
            shutil.copytree(image.root / "repository/dist", image.root / target.lstrip("/"))
        else:
            image.copy(name, target)
    post = [line for line in sections()["post"] if not line.startswith("EXTRA=")]
    image.run("\n".join(post))
    (script,) = sections()["runscript"]
    return script.removeprefix("exec ").removesuffix(' "$@"')


@pytest.mark.slow
@pytest.mark.skipif(
    not the_recipes_packages_are_here(), reason="the packages here are not those of constraints.txt"
)
@pytest.mark.parametrize("follow", [follow_docker, follow_apptainer])
def test_what_the_recipes_install_trains(tmp_path, follow):
    image = Image(tmp_path)
    command = follow(image)
    flags = "--config.data.train='train[:60]' --config.data.test='test[:50]'"
    flags += " --config.train.duration='2 steps' --config.train.batch_size=20"
    image.run(f"{command} train --config=lenet5_quickstart --workdir={tmp_path}/w {flags}")
    assert json.loads((tmp_path / "w" / "summary.json").read_text())["status"] == "completed"
    run = json.loads((tmp_path / "w" / "run.json").read_text())
    assert run["command"][0] == str(image.venv / "bin" / command)
