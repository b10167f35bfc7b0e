"""Each mistake and each broken file ends in one line and its exit code; random bytes too."""

import contextlib
import gc
import gzip
import shutil
import struct
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lenet_alexnet.cli import main, parsing
from lenet_alexnet.config import flatten
from lenet_alexnet.data.sources import idx
from lenet_alexnet.errors import DataError, LenetAlexnetError, UsageError
from tests.helpers import faults, malformed_files  # noqa: F401 (it adds its cases)
from tests.helpers.malformed import CASES
from tests.helpers.tiny_configs import make_tiny_config

bounded = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    assert main(["lenet-alexnet", *faults.command("lenet", workdir)]) == 0
    return workdir


def test_there_are_sixty():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 60


# Objects that orbax left after a failed restore warn when they are collected.
@pytest.mark.attack(
    "one line",
    "command lines, config files, data sets and run files that are wrong: see the list below",
    "one line, exit code 1 or 2",
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.counted("malformed inputs, each in one line with its exit code")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_line_and_the_exit_code(case, tmp_path, request, capsys):
    run = tmp_path / "run"
    if case.name.startswith("run, "):
        shutil.copytree(request.getfixturevalue("finished"), run)
    (tmp_path / "d").mkdir()
    arguments = case.make(tmp_path / "d", run)
    capsys.readouterr()
    code = main(["lenet-alexnet", *arguments])
    captured = capsys.readouterr()
    assert (code, captured.err.count("\n")) == (case.code, 1), captured.err
    assert captured.err.startswith("error: ")
    assert case.fragment.format(d=tmp_path / "d") in captured.err
    assert captured.out == ""
    if run.exists():
        gc.collect()  # So that orbax warns here, and not in a later test.


def idx_bytes(kind, shape, content):
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + content


sizes = st.integers(0, 5) | st.integers(0, 2**32 - 1)
headers = st.builds(
    idx_bytes,
    st.sampled_from([8, 8, 8, 9, 13]),
    st.lists(sizes, min_size=0, max_size=4),
    st.binary(max_size=40),
)


@pytest.mark.attack("silent", "random bytes as an idx file", "its exact content, or one line")
@bounded
@given(content=st.binary(max_size=60) | headers, compress=st.booleans(), cut=st.integers(0, 30))
def test_an_idx_file_is_read_exactly_or_refused(content, compress, cut, tmp_path):
    if compress:
        content = gzip.compress(content)[: -cut or None]
    path = tmp_path / "file"
    path.write_bytes(content)
    for dimensions in (1, 3):
        with contextlib.suppress(DataError):
            array = idx.read_file(path, dimensions)
            raw = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            assert array.ndim == dimensions
            assert array.tobytes() == raw[4 + 4 * dimensions :]


@bounded
@given(array=st.binary(min_size=12, max_size=12), shape=st.permutations([1, 3, 4]))
def test_what_was_written_as_idx_is_read_back(array, shape, tmp_path):
    (tmp_path / "file").write_bytes(idx_bytes(8, shape, array))
    read = idx.read_file(tmp_path / "file", 3)
    assert np.array_equal(read, np.frombuffer(array, np.uint8).reshape(shape))


KEYS = sorted(flatten(make_tiny_config()))
values = st.text(max_size=12) | st.integers().map(str) | st.floats().map(str)


@pytest.mark.attack(
    "silent",
    "random texts as values of random entries",
    "the value with the entry's type, or one line",
)
@bounded
@given(key=st.sampled_from(KEYS) | st.text("abc._", min_size=1, max_size=12), value=values)
@pytest.mark.slow
def test_an_override_is_taken_with_its_type_or_refused(key, value):
    from absl import flags

    config = make_tiny_config()
    before = flatten(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsing.parse(flags.FlagValues(), ["x", f"--config.{key}={value}"], config)
        except UsageError:
            return
    after = flatten(config)
    assert after.keys() == before.keys()
    assert {k for k in after if not same(after[k], before[k])} <= {key}
    assert isinstance(after[key], type(before[key]))


def same(a, b):
    return a == b or (a != a and b != b)


def test_errors_are_of_two_kinds():
    assert (UsageError.exit_code, DataError.exit_code) == (2, 1)
    assert issubclass(UsageError, LenetAlexnetError)
