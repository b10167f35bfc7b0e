"""The library of the loops: compiled once, verified before loading, never waited for."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from lenet_alexnet.ops.cpu import native
from lenet_alexnet.ops.cpu.native import build
from lenet_alexnet.runtime import signals
from tests.helpers import ROOT
from tests.helpers.compiler import needs_compiler


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(build.backend, "cache_folder", lambda name: tmp_path)
    return tmp_path


def why():
    """Why there are no loops, checked again at each call instead of once per process."""
    return native.compile_loops.__wrapped__()


@pytest.mark.attack(
    "one line",
    "CXX that is no command, fails or is missing",
    "another form is used, and the reason is reported",
)
def test_why_the_loops_cannot_be_had(monkeypatch, cache, capfd):
    monkeypatch.setenv("CXX", "false")
    assert why() == "false failed: exit status 1"
    assert capfd.readouterr().err.startswith("warning: no loops in C++")
    monkeypatch.setenv("CXX", "ls")  # which says why
    assert why().startswith("ls failed: ls: ")
    monkeypatch.setenv("CXX", "c++ '-O")
    assert why() == "CXX=c++ '-O is no command: No closing quotation"
    (cache / "file").touch()
    with monkeypatch.context() as full:
        full.delenv("CXX")
        full.setattr(build.backend, "cache_folder", lambda name: cache / "file" / "below")
        assert "could not be compiled" in why()
    (cache / "file").unlink()
    capfd.readouterr()
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler" in why()
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(cache))
    assert "no C++ compiler" in why()
    assert capfd.readouterr().err == ""  # This is expected.
    assert list(cache.iterdir()) == []


def compiler_script(folder, body):
    """A compiler that is a shell script."""
    path = folder / "cc"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.attack(
    "hangs", "a compiler that never returns", "it is reported, then ended with its children"
)
def test_a_compiler_that_hangs_is_ended_with_its_children_and_said(
    monkeypatch, cache, tmp_path_factory, capfd
):
    script = compiler_script(tmp_path_factory.mktemp("cc"), "sleep 778 & echo $! >&2; wait")
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setattr(build, "PATIENCE_SECONDS", (0.3, 0.3))
    begun = time.monotonic()
    assert "took more than 0.6 s" in why()
    assert time.monotonic() - begun < 30
    assert f"waiting for the C++ compiler '{script}'" in capfd.readouterr().err
    assert running("sleep 778") == []
    assert set() == signals.DEPENDENT
    assert list(cache.iterdir()) == []


def running(command):
    done = subprocess.run(["ps", "-eo", "pid,stat,args"], capture_output=True, text=True)
    lines = [line.split(None, 2) for line in done.stdout.splitlines()]
    return [pid for pid, state, args in lines if args == command and state[0] != "Z"]


AT_WORK = (
    "import os, signal\n"
    "from lenet_alexnet.runtime import signals\n"
    "from lenet_alexnet.ops.cpu.native import build\n"
    "with signals.catch():\n"
    "    build._run(['sh', '-c', 'echo begun; sleep 779'])\n"
)


@pytest.mark.attack("hangs", "a second signal while the compiler runs", "the compiler ends too")
def test_the_second_signal_ends_a_compiler_too():
    command, environment = [sys.executable, "-c", AT_WORK], os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: running("sleep 779"))
        run.send_signal(signal.SIGTERM)
        assert "saving and stopping" in run.stderr.readline() + run.stderr.readline()
        run.send_signal(signal.SIGTERM)
        assert run.wait(20) == 128 + signal.SIGTERM
        wait_until(lambda: not running("sleep 779"))
    finally:
        run.kill()
        run.communicate()


def wait_until(ready, seconds=60):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.attack(
    "silent", "many processes compile the library at once", "each loads a whole one"
)
@needs_compiler
@pytest.mark.slow
def test_compiled_once_for_many_processes(cache):
    """And only once; another compiler has a separate library."""
    compiler = build._compiler()
    first = build._library(compiler)
    written = first.stat().st_mtime_ns
    assert build._library(compiler) == first
    assert first.stat().st_mtime_ns == written
    assert build._library([*compiler, "-DANOTHER"]) != first
    assert len(list(cache.glob("*.so"))) == 2
    assert len(list(cache.iterdir())) == 4  # with their checksums


@pytest.fixture
def fake(monkeypatch, cache, tmp_path_factory):
    """A compiler that takes no time and records how often it was called."""
    folder = tmp_path_factory.mktemp("fake")
    last = 'for last; do :; done; printf "a library" >"$last"'
    script = compiler_script(folder, f"echo >>{folder}/calls; {last}")

    class Fake:
        def __call__(self):
            return build._library([str(script)])

        @property
        def calls(self):
            return len((folder / "calls").read_text())

    return Fake()


SPOILT = {
    "cut short": lambda library: os.truncate(library, 4),
    "emptied": lambda library: os.truncate(library, 0),
    "another": lambda library: library.write_bytes(b"b library"),
    "a link to another": lambda library: relink(library),
    "open to all": lambda library: library.chmod(0o777),
    "without its checksum": lambda library: library.with_suffix(".sha256").unlink(),
    "with a checksum of nonsense": lambda library: library.with_suffix(".sha256").write_bytes(
        b"\xff\xfe"
    ),
}


def relink(library):
    other = library.with_name("other")
    shutil.copy(library, other)
    library.unlink()
    library.symlink_to(other)


@pytest.mark.attack(
    "foreign",
    "a compiled library that is cut short, empty or replaced",
    "it is compiled again and the other is never loaded",
)
@pytest.mark.parametrize("kind", SPOILT)
def test_a_library_that_is_not_as_it_was_compiled_is_compiled_again(fake, kind):
    library = fake()
    assert fake() == library
    assert fake.calls == 1
    SPOILT[kind](library)
    assert fake() == library
    assert fake.calls == 2
    assert not library.is_symlink()
    assert library.read_bytes() == b"a library"
    assert library.stat().st_mode & 0o022 == 0


@pytest.mark.attack(
    "foreign", "a cache folder that others can write to", "nothing is loaded from it"
)
def test_a_folder_that_others_can_write_to_is_not_used(fake, cache, monkeypatch):
    cache.chmod(0o777)
    with pytest.raises(build.BuildError, match="others can write to"):
        fake()
    cache.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(build.BuildError, match="another user's"):
        fake()


def test_what_a_run_used_is_known_and_may_be_forbidden(monkeypatch):
    monkeypatch.setattr(native, "compile_loops", lambda: None)
    with native.noted() as used:
        assert used() is None
        assert native.ensure_compiled() is None
        assert used() is True
        with native.noted("it began without them") as inner:
            assert native.ensure_compiled() == "it began without them"
            assert inner() is False
        assert native.ensure_compiled() is None
