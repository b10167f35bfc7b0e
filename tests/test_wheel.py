"""The wheel stands alone: it has configs and run records, and works in an empty folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lenet_alexnet.data import extra
from lenet_alexnet.reproduce import cifar10_fig1, listing
from lenet_alexnet.reproduce.catalogue import CLAIMS
from lenet_alexnet.reproduce.collect import SELECTIONS
from lenet_alexnet.runs.directory import read_json, read_summary
from tests.helpers import ROOT

SHIPPED = "lenet_alexnet/shipped"
MOST_BYTES = 5 << 20
RECORDS = ("results", "curves")
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")
FOLDERS = ("lenet_alexnet", "configs", "experiments")
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
BLOCKED = f"import sys\nsys.modules.update(dict.fromkeys({extra.LIBRARIES}))\n"
FEW_STEPS = [
    "--config.data.train=train[:60]",
    "--config.train.batch_size=20",
    "--config.train.duration=6 steps",
    "--config.train.steps_per_dispatch=3",
    "--config.data.test=test[:100]",
]
GIT = ["git", "-c", "user.name=x", "-c", "user.email=x"]


def finished(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def built(source, target):
    """The wheel that pip builds from a folder or an sdist, without the network."""
    finished([*PIP, "wheel", "--no-deps", "--no-build-isolation", f"-w{target}", str(source)])
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what a wheel is built from; building writes into its folder."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    return built(sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """Runs the installed command in a folder; only the wheel's package can be imported.

    The libraries of the extra `data` cannot. Around it is the repository of another project.
    """
    place = tmp_path_factory.mktemp("installed")
    finished([*PIP, "install", "--no-deps", "--no-index", f"--target={place}", str(wheel)])
    (place / "sitecustomize.py").write_text(BLOCKED)
    finished([*GIT, "init", "--quiet"], cwd=place)
    finished([*GIT, "commit", "--quiet", "--allow-empty", "--message=other"], cwd=place)
    environment = os.environ | {"PYTHONPATH": str(place)}

    def command(folder, *arguments):
        program = [sys.executable, str(place / "bin" / "lenet-alexnet"), *arguments]
        return subprocess.run(
            program, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )

    where = [sys.executable, "-c", "import lenet_alexnet; print(lenet_alexnet.__file__)"]
    found = Path(finished(where, cwd=place, env=environment).strip())
    assert found == place / "lenet_alexnet" / "__init__.py"
    return command


def test_it_has_every_config_and_the_records_that_the_list_reads(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        size = sum(info.file_size for info in file.infolist())
        shipped = {name for name in names if name.startswith(SHIPPED)}
        for name in shipped:
            assert file.read(name) == (ROOT / name.removeprefix(f"{SHIPPED}/")).read_bytes()
    configs = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("configs/**/*.py")}
    assert {f"{SHIPPED}/{path}" for path in configs} <= names
    scales = [scale for claim in CLAIMS.values() for scale in (claim.full, claim.small) if scale]
    experiments = {scale.experiment for scale in scales} - {""}
    records = [ROOT / f"experiments/{n}/{file}.csv" for n in experiments for file in RECORDS]
    records += [
        cifar10_fig1.SELECTION,
        *(ROOT / f"experiments/{n}/selection.csv" for n in SELECTIONS),
    ]
    there = {path.relative_to(ROOT).as_posix() for path in records if path.exists()}
    assert {f"{SHIPPED}/{path}" for path in there} <= names
    assert "experiments/018_cifar10_fig1/selection.csv" in there
    assert {Path(name).suffix for name in shipped} == {".py", ".csv"}
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"lenet_alexnet"}
    assert size < MOST_BYTES


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel(sources, wheel, tmp_path):
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    finished([sys.executable, "-c", code, str(tmp_path)], cwd=sources)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(built(sdist, tmp_path)) as other:
        assert set(one.namelist()) == set(other.namelist())
        assert all(one.read(name) == other.read(name) for name in one.namelist())


def test_reproduce_lists_the_recorded_numbers(run, tmp_path):
    done = run(tmp_path, "reproduce")
    assert done.returncode == 0, done.stderr
    assert done.stdout == listing.as_table(list(CLAIMS.values())) + "\n"
    assert not list(tmp_path.iterdir())


def test_it_trains_by_name_in_an_empty_folder(run, tmp_path):
    done = run(tmp_path, "train", "--config=lenet5_quickstart", "--workdir=w", *FEW_STEPS)
    assert done.returncode == 0, done.stderr
    assert read_summary(tmp_path / "w" / "summary.json")["step"] == 6
    assert read_json(tmp_path / "w" / "run.json")["git_commit"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


@pytest.mark.slow
def test_it_sweeps_by_name(run, tmp_path):
    """The workers import the same package."""
    command = ["sweep", "--config=sweeps/lenet5_lr_seeds", "--workdir=s", *FEW_STEPS]
    done = run(tmp_path, *command, "--config.data.validation=train[3900:]")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "s" / "results.csv").read_text().splitlines()) == 33


def test_no_record_is_written_into_the_package(run, tmp_path):
    done = run(tmp_path, "reproduce", "lenet5_fig6", "--scale=small", "--record")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--record needs a checkout" in done.stderr


def test_prepared_data_sets_ask_for_the_extra(run, tmp_path):
    done = run(tmp_path, "data", "prepare", "mnist")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install 'lenet-alexnet[data]'" in done.stderr
