"""The documents: commands and code run, targets, scripts and extras exist."""

import dataclasses
import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenet_alexnet.bench.options import Options as BenchOptions
from lenet_alexnet.cli import bench, ckpt, entry, models
from lenet_alexnet.cli import configs as configs_command
from lenet_alexnet.config.checks import check_entries, check_sections
from lenet_alexnet.data import load_split
from lenet_alexnet.inference import bundled
from lenet_alexnet.models import create_model
from lenet_alexnet.reproduce.catalogue import CLAIMS
from tests.helpers import ROOT
from tests.helpers.doc_pages import EXPERIMENTS, PAGES
from tests.helpers.photo_files import write_classes

# Commands that no test runs, with the reason; they are parsed with the real flags.
NOT_RUN = {
    "demo": "serves until Ctrl-C; tests/test_demo.py asks it",
    "bench": "measures for minutes; tests/test_bench.py runs each subject",
    "data prepare": "needs the internet or the official files; tests/test_prepare.py has stand-ins",
    "convert": "needs a file of weights; tests/test_convert.py makes some",
    "data check": "needs a prepared data set; tests/test_prepared.py checks one",
    "reproduce NAME": "takes minutes and more; tests/test_reproduce.py runs a claim in small",
    "--devices": "compiles AlexNet for minutes; tests/test_cost.py does",
    "--coordinator": "is one of two processes; tests/test_parallel.py starts two",
    "--executor=slurm": "needs Slurm; make test-slurm starts one",
    "--search": "takes minutes; tests/test_sweep.py searches in small",
    "--again": "takes minutes; tests/test_sweep_steering.py does it in small",
    "--stop-trial": "needs a trial's name; tests/test_sweep_steering.py stops one",
    "train": "needs MNIST, CIFAR-10 or photos; tests/test_configs.py trains each config in small",
}
OTHER_PROGRAMS = {
    "make": "see test_make_targets_exist",
    "python": "see test_scripts_exist",
    "sbatch": "needs Slurm; see test_sbatch_file",
    "docker": "needs a container engine; see tests/test_containers.py",
    "apptainer": "needs Apptainer; see tests/test_containers.py",
    ".venv/bin/pip": "needs the internet; see test_extras_exist",
    ".venv/bin/jupyter": "needs the extra notebook; tests/test_notebooks.py runs the notebook",
    "pip": "needs the internet; tests/test_wheel.py builds a wheel and installs it without",
}
TINY = [
    "--config.data.train=train[:240]",
    "--config.data.test=test[:100]",
    "--config.train.batch_size=24",
    "--config.train.duration=10 steps",
    "--config.train.log_every=5 steps",
    "--config.train.steps_per_dispatch=5",
    "--config.eval.every=10 steps",
    "--config.checkpoint.every=10 steps",
]
QUICK = "configs/lenet5_quickstart.py"
RUN = "runs/lenet5_quickstart"


@dataclasses.dataclass(frozen=True)
class Shell:
    """A command in a document: its words, the variables set for it, and its place."""

    words: tuple[str, ...]
    variables: dict[str, str]
    place: str

    @property
    def arguments(self) -> list[str]:
        """The words after lenet-alexnet."""
        return list(self.words[1:])


def commands(path: Path) -> Iterator[Shell]:
    """The commands of the shell blocks, fenced or indented; an unknown program is an error."""
    fence, pending, indented = "", "", False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        place = f"{path.relative_to(ROOT)}:{number}"
        if line.startswith("```"):
            fence = "" if fence else line[3:] or "text"
            continue
        indented = not fence and line.startswith("    ") and not line.lstrip().startswith("|")
        if not pending and not (fence == "sh" or indented):
            continue
        text = f"{pending} {line.strip()}".strip()
        if text.endswith("\\"):
            pending = text[:-1].strip()
            continue
        pending = ""
        words = shlex.split(text, comments=True)
        variables = {}
        while words and re.match(r"\w+=", words[0]):
            name, _, variables[name] = words.pop(0).partition("=")
        if not words:
            continue
        if words[0] == "lenet-alexnet" or words[0] in OTHER_PROGRAMS:
            yield Shell(tuple(words), variables, place)
        elif fence == "sh":
            raise AssertionError(f"{place}: add '{words[0]}' to the programs of this test")


PAGE_COMMANDS = [found for path in PAGES for found in commands(path)]
ALL_COMMANDS = PAGE_COMMANDS + [found for path in EXPERIMENTS for found in commands(path)]
OURS = [found for found in ALL_COMMANDS if found.words[0] == "lenet-alexnet"]


def by_place(found):
    return found.place


def not_run(arguments: list[str]) -> str:
    """Why a command is only parsed, "" if it is run."""
    name = arguments[0]
    alone = ("--again", "--stop-trial")
    for flag in ("--devices", "--coordinator", "--executor=slurm", "--search", *alone):
        if any(argument.startswith(flag) for argument in arguments):
            return NOT_RUN[flag]
    if name == "data" and arguments[1] != "list":
        return NOT_RUN[f"data {arguments[1]}"]
    if name == "reproduce" and len(arguments) > 1:
        return NOT_RUN["reproduce NAME"]
    if name in ("eval", "predict", "activations", "export", "report", "ckpt"):
        there = (RUN, "--model=lenet5_quickstart", "--model=lenet5_mnist", "mine.safetensors")
        found = any(name in argument for argument in arguments for name in there)
        return "" if found else NOT_RUN["train"]
    if name == "train" and not {f"--config={QUICK}", "--config=lenet5_quickstart"} & {*arguments}:
        return NOT_RUN["train"]
    return NOT_RUN[name] if name in ("bench", "convert", "demo") else ""


SECONDS = {"train", "sweep", "report"}  # they compile
TO_RUN = [
    pytest.param(found, id=found.place, marks=[pytest.mark.slow] * (found.arguments[0] in SECONDS))
    for found in PAGE_COMMANDS
    if found.words[0] == "lenet-alexnet" and not not_run(found.arguments)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder: configs/, a short quickstart run, and an image."""
    path = tmp_path_factory.mktemp("docs")
    for name in ("configs", "experiments", "docs"):
        (path / name).symlink_to(ROOT / name)
    digit = load_split(
        source="embedded", name="", data_dir="", split="test[:1]", image_size=28, channels=1
    ).images[0, ..., 0]
    Image.fromarray(np.pad(255 - digit, 20, constant_values=255)).save(path / "my_digit.png")
    shutil.copy(bundled.find("lenet5_quickstart"), path / "mine.safetensors")
    before = Path.cwd()
    os.chdir(path)
    try:
        arguments = ["train", f"--config={QUICK}", f"--workdir={RUN}", *TINY]
        assert entry.main(["lenet-alexnet", *arguments]) == 0
    finally:
        os.chdir(before)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A user's class folders."""
    return write_classes(tmp_path_factory.mktemp("docs") / "photos", {"blue": 3, "red": 3})


@pytest.mark.parametrize("found", OURS, ids=by_place)
def test_command_is_parsed(found, photos, monkeypatch):
    """The command has these flags, config entries and names."""
    arguments, parsed = found.arguments, []
    if "VARIANT" in " ".join(arguments):
        arguments = [argument.replace("VARIANT", "paper") for argument in arguments]
    if arguments[0] == "train":  # It looks at the photos.
        arguments = [argument.replace("=my_photos", f"={photos}") for argument in arguments]
    if any(argument.endswith("...") for argument in arguments):
        pytest.skip("not one command but a pattern")

    def run(values, rest):
        parsed.append(rest)
        if "config" in values:
            create_model(**values.config.model)
        return 0

    name = arguments[0]
    command = dataclasses.replace(entry.COMMANDS[name], run=run)
    monkeypatch.setitem(entry.COMMANDS, name, command)
    monkeypatch.chdir(ROOT)
    assert entry.main(["lenet-alexnet", *arguments]) == 0
    rest = parsed[0]
    known = {
        "bench": bench.SUBJECTS,
        "reproduce": CLAIMS,
        "ckpt": ckpt.ACTIONS,
        "data": ("prepare", "list", "check"),
        "configs": configs_command.ACTIONS,
        "models": models.ACTIONS,
    }
    if name in known and rest:
        assert rest[0] in known[name]
    elif name not in ("predict", "activations", "export", "convert"):
        assert not rest
    assert name != "bench" or BenchOptions


@pytest.mark.parametrize("found", TO_RUN)
def test_command_runs(found, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    arguments = found.arguments
    if arguments[0] in ("train", "sweep"):
        arguments = [*arguments, *TINY]
    if arguments[0] == "sweep":
        arguments += ["--config.data.validation=train[3900:]"]
    if found.variables or arguments[0] in ("sweep", "train"):
        command = [sys.executable, "-m", "lenet_alexnet", *arguments]
        environment = os.environ | found.variables | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=900)
        return
    assert entry.main(["lenet-alexnet", *arguments]) == 0
    assert capsys.readouterr().out or arguments[0] == "data"  # Perhaps no data set is prepared.


def python_blocks() -> Iterator:
    for path in PAGES:
        for i, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)):
            slow = [pytest.mark.slow] * (" train(" in code or "\ntrain(" in code)
            yield pytest.param(code, id=f"{path.stem}-{i}", marks=slow)


@pytest.mark.parametrize("code", python_blocks())
def test_python_code_runs(code, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(compile(code, "docs", "exec"), names)
    if "get_config" in names:
        config = names["get_config"]()
        check_sections(config, "docs")
        check_entries(config, "docs")
    if "sweep" in names:
        assert len(names["sweep"]()) == 12


def words_of(program: str) -> list[list[str]]:
    return [list(found.words) for found in ALL_COMMANDS if found.words[0] == program]


def test_make_targets_exist():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w-]+):", text, re.MULTILINE))
    wanted = {word for words in words_of("make") for word in words[1:] if "=" not in word}
    assert {"train", "test", "docs"} <= wanted <= targets
    prose = {name for path in PAGES for name in re.findall(r"`make ([\w-]+)", path.read_text())}
    assert prose <= targets


def test_scripts_exist():
    for words in words_of("python"):
        assert words[1] == "-m" or (ROOT / words[1]).is_file(), words


@functools.cache
def extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return set(project["optional-dependencies"])


def test_extras_exist():
    named = {name for path in PAGES for name in re.findall(r"-e '\.\[(\w+)\]'", path.read_text())}
    assert {"torch", "slurm", "plots"} <= named <= extras()
    listed = (ROOT / "docs" / "index.md").read_text().split("| extra |")[1].split("##")[0]
    assert set(re.findall(r"`(\w+)`[,| ]", listed)) | {"dev"} == extras()


def test_sbatch_file(tmp_path):
    """With stand-ins for Slurm: srun gets a valid command; exit code 75 queues the job again."""
    for name, code in (("srun", 75), ("scontrol", 0)):
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/{name}.txt\nexit {code}\n')
        script.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    file = ROOT / "docs" / "files" / "train.sbatch"
    command = ["bash", str(file), "--config.parallel.mode=tower"]
    assert subprocess.run(command, env=environment).returncode == 75
    assert (tmp_path / "scontrol.txt").read_text().split() == ["requeue", "7"]
    option, program, *arguments = (tmp_path / "srun.txt").read_text().split()
    assert option == "--kill-on-bad-exit=0"
    assert program == ".venv/bin/lenet-alexnet"
    assert arguments[0] == "train"
    assert (ROOT / arguments[1].removeprefix("--config=")).is_file()
    assert arguments[-1] == "--config.parallel.mode=tower"
    for line in file.read_text().splitlines():
        assert not line.startswith("#SBATCH") or re.fullmatch(r"#SBATCH --[\w-]+(=\S+)?", line)
    used = {words[-1] for words in words_of("sbatch") if not words[-1].startswith("--config")}
    assert used == {"docs/files/train.sbatch"}
