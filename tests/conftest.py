"""Fixtures and hooks of all tests.

It imports no package whose shapes are checked: what is imported this early would not be.
"""

import gc
import os
import signal
from collections import defaultdict
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags


def make_room(folder, most=1 << 30):
    """Removes the damaged programs and, above `most` bytes, those not used for the longest time."""
    from lenet_alexnet.runtime import programs

    programs.remove_damaged(folder)
    kept = sorted(folder.glob("*-cache"), key=lambda path: path.stat().st_atime_ns)
    total = sum(path.stat().st_size for path in kept)
    for path in kept:
        if total <= most:
            break
        total -= path.stat().st_size
        path.unlink()


flags.FLAGS.mark_as_parsed()
# Under nohup and in a script's background they are ignored, and so by all processes that the tests
# start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" not in os.environ:
    # Programs that tests need are compiled once, by the first process that needs one: the workers
    # and the processes that they start inherit the folder. It is kept for the next run of the
    # tests; `make clean` removes it. Programs of other compiler flags have other names. The small
    # ones are kept too: together they take as long to compile as the large ones.
    PROGRAMS = Path(__file__).parents[1] / ".pytest_cache" / "programs"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(PROGRAMS)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    make_room(PROGRAMS)
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def pytest_collection_finish():
    """Later collections of garbage skip what was loaded until here: there is much, and it stays."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    """Puts a test's counts into its report, which takes them from a worker to the summary."""
    for marker in item.iter_markers("counted"):
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        item.user_properties.append(("counted", marker.args[0].format_map(parameters)))


def pytest_terminal_summary(terminalreporter):
    """Prints how many faults of each kind were survived."""
    counts = defaultdict(dict)
    for outcome in ("passed", "failed", "error"):  # An error in teardown overrides the outcome.
        for report in terminalreporter.getreports(outcome):
            # The report of a module that was not collected has no counts.
            for name, value in getattr(report, "user_properties", ()):
                if name == "counted":
                    counts[value][report.nodeid] = outcome == "passed"
    if counts:
        terminalreporter.section("counts")
    for name, outcomes in sorted(counts.items()):
        terminalreporter.write_line(f"{name}: {sum(outcomes.values())} of {len(outcomes)}")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def synced(monkeypatch):
    """Returns whether a folder's files and name were on the disk when it was renamed."""
    fsync, replace, on_disk, renamed = os.fsync, os.replace, set(), {}

    def watched_fsync(descriptor):
        status = os.fstat(descriptor)
        on_disk.add((status.st_ino, status.st_size, status.st_mtime_ns))
        for folder in renamed:
            if os.path.samestat(os.stat(folder.parent), status):
                named.add(folder)
        fsync(descriptor)

    def watched_replace(source, target):
        if Path(source).is_dir():
            files = [path.stat() for path in Path(source).iterdir() if path.is_file()]
            known = {(file.st_ino, file.st_size, file.st_mtime_ns) for file in files} <= on_disk
            renamed[Path(target)] = bool(files) and known
        replace(source, target)

    named = set()
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    return lambda folder: renamed.get(folder, False) and folder in named


@pytest.fixture(scope="session")
def colour_photos(tmp_path_factory):
    """The folder of a prepared data set `mine`; a test that changes it copies it first."""
    from tests.helpers import photo_files

    return photo_files.prepare_colours(tmp_path_factory.mktemp("colours"))


@pytest.fixture
def tiny_config():
    from tests.helpers.tiny_configs import make_tiny_config

    return make_tiny_config()
