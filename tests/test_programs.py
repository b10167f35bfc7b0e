"""The cache of compiled programs."""

import os
import subprocess
import sys

import pytest

from lenet_alexnet.runtime import programs
from tests.helpers import ROOT

COMPILES = (
    "from lenet_alexnet.runtime import backend; backend.set_up()\n"
    "import jax\n"
    "print(jax.jit(lambda x: 2 * x + 1)(20.5))"
)


def compiles(folder):
    """Compiles and runs a small program with its cache in a folder; returns stdout and stderr."""
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    done = subprocess.run(
        [sys.executable, "-c", COMPILES],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.attack(
    "hangs",
    "a compiled program in JAX's cache was cut off by a kill or a full disk",
    "it is compiled and kept again, without a warning at every start",
)
def test_a_program_that_was_cut_off_is_compiled_again(tmp_path):
    assert compiles(tmp_path) == ("42.0\n", "")
    kept = {path: path.read_bytes() for path in tmp_path.glob("*-cache")}
    assert kept
    for path, content in kept.items():
        path.write_bytes(content[: len(content) // 2])
    assert compiles(tmp_path) == ("42.0\n", "")
    for path, content in kept.items():
        assert abs(len(path.read_bytes()) - len(content)) < 200, "it is whole again"


def test_only_new_programs_are_read_and_whole_ones_stay(tmp_path, monkeypatch):
    compiles(tmp_path)
    whole = sorted(path.name for path in tmp_path.glob("*-cache"))
    damaged = tmp_path / "jit_other-cache"
    damaged.write_bytes(b"x" * 100)
    assert programs.remove_damaged(tmp_path) == [damaged.name]
    assert sorted(path.name for path in tmp_path.glob("*-cache")) == whole
    monkeypatch.setattr(programs, "_whole", lambda path: pytest.fail(f"{path} is read again"))
    assert programs.remove_damaged(tmp_path) == []


def test_a_cache_that_is_missing_or_read_only_is_left_alone(tmp_path, monkeypatch):
    assert programs.remove_damaged(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()

    def refuse(*arguments):
        raise PermissionError("read-only")

    (tmp_path / "jit_other-cache").write_bytes(b"x")
    monkeypatch.setattr(programs.Path, "unlink", refuse)
    assert programs.remove_damaged(tmp_path) == []
