"""Randomly damaged inputs: each command does its work or ends in one line, and never hangs.

Each failure found here is a separate case in malformed.py, malformed_files.py or a module's tests.
"""

import contextlib
import io
import json
import shutil
import signal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lenet_alexnet.cli import main
from lenet_alexnet.data import load_split
from lenet_alexnet.errors import LenetAlexnetError
from lenet_alexnet.runtime import unexpected
from tests.helpers import faults, mutations
from tests.helpers.photo_files import encoded, picture, prepare_folder, tar_bytes, write_folder

pytestmark = [
    pytest.mark.slow,
    # Objects that a reader left open on a broken file warn when they are collected.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
LIMIT = 60  # seconds for one command, which takes one or two on an idle machine


class HungError(BaseException):
    """A command hangs; no `except Exception` of the program catches it."""


def fuzz(examples):
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, suppress_health_check=checks)


@contextlib.contextmanager
def limited(seconds):
    """A command that hangs fails the test instead of stopping it."""

    def stop(signum, frame):
        raise HungError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def contract(*arguments):
    """Runs a command; asserts its exit code and its one line, and returns the code."""
    out, err = io.StringIO(), io.StringIO()
    with limited(LIMIT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["lenet-alexnet", *map(str, arguments)])
    errors = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    assert code in (0, 1, 2), err.getvalue()
    assert len(errors) == (code != 0), err.getvalue()
    assert "Traceback" not in err.getvalue()
    assert unexpected.HINT not in "".join(errors), errors
    return code


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    assert contract(*faults.command("lenet", workdir)) == 0
    return workdir


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    prepare_folder(write_folder(root / "in", splits=("train", "test")), root / "out")
    return root / "out"


def spoil(draw, path):
    """Rewrites a file of a run or a data set, by its kind."""
    content = path.read_bytes()
    spoiled = (
        mutations.spoiled_json(content.decode())
        if path.suffix == ".json"
        else mutations.spoiled_bytes(content)
    )
    path.write_bytes(draw(spoiled))


@fuzz(60)
@given(data=st.data())
@pytest.mark.parametrize("verb", ["eval", "verify", "resume", "report"])
def test_a_run_with_a_spoiled_file(data, verb, finished, tmp_path):
    run = tmp_path / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(finished, run)
    files = sorted(path for path in run.rglob("*") if path.is_file())
    names = ("config.json", "run.json", "summary.json", "metrics.jsonl")
    top = [path for path in files if path.name in names]
    spoil(data.draw, data.draw(st.sampled_from(top) | st.sampled_from(files)))
    commands = {
        "eval": ["eval", f"--workdir={run}"],
        "verify": ["ckpt", "verify", run],
        "resume": faults.command("lenet", run),
        "report": ["report", f"--workdir={run}"],
    }
    contract(*commands[verb])


@fuzz(100)
@given(data=st.data())
def test_a_prepared_set_with_a_spoiled_file(data, prepared, tmp_path):
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(prepared, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    described = [path for path in files if path.suffix == ".json"]
    spoil(data.draw, data.draw(st.sampled_from(described) | st.sampled_from(files)))
    code = contract("data", "check", "mine", f"--data_dir={copy}")
    assert contract("data", "list", f"--data_dir={copy}") in (0, code)


PHOTOS = tar_bytes(
    {f"in/train/{name}/{i}.jpg": encoded(picture(i)) for name in ("cat", "dog") for i in (1, 2)}
)


@fuzz(200)
@given(content=mutations.spoiled_tar(PHOTOS) | mutations.spoiled_bytes(PHOTOS))
def test_a_spoiled_tar_of_photos(content, tmp_path):
    shutil.rmtree(tmp_path / "D", ignore_errors=True)
    (tmp_path / "photos.tar").write_bytes(content)
    options = ("--name=mine", "--size=16", "--jobs=1", f"--data_dir={tmp_path / 'D'}")
    code = contract("data", "prepare", "folder", f"--from={tmp_path / 'photos.tar'}", *options)
    if code == 0:  # All four are there, or the missing ones are listed.
        (path,) = (tmp_path / "D").glob("*/*/manifest.json")
        told = json.loads(path.read_text())
        assert len(list(mutations.leaves(told))) > 1
        assert contract("data", "check", "mine", f"--data_dir={tmp_path / 'D'}") == 0


BOUND = st.none() | st.integers(-1200, 1200).map(str) | st.integers(-120, 120).map("{}%".format)
TERM = st.builds(
    lambda name, start, stop: (name, start, stop), st.sampled_from(["train", "test"]), BOUND, BOUND
)


def embedded(split):
    return load_split(
        source="embedded", name="", data_dir="", split=split, image_size=28, channels=1
    )


def bound(text, size):
    if text is None or not text.endswith("%"):
        return None if text is None else int(text)
    return round(int(text[:-1]) * size / 100)


@fuzz(200)
@given(terms=st.lists(TERM, min_size=1, max_size=3))
def test_a_split_expression_is_what_python_slices(terms):
    """An empty split is refused; every other has exactly the labels of Python's slices."""
    whole = {name: embedded(name) for name in ("train", "test")}
    text = "+".join(f"{name}[{start or ''}:{stop or ''}]" for name, start, stop in terms)
    expected = []
    for name, start, stop in terms:
        size = len(whole[name].labels)
        expected += whole[name].labels[slice(bound(start, size), bound(stop, size))].tolist()
    try:
        found = embedded(text)
    except LenetAlexnetError:
        assert not expected
    else:
        assert found.labels.tolist() == expected


@fuzz(300)
@given(text=st.text("trainest[]:+-%0123456789 \n\0", max_size=20) | st.text(max_size=10))
@example("train[" + "9" * 5000 + ":]")
@example("train[:" + "9" * 400 + "%]")
@example("train[٣:]")
def test_a_text_that_is_no_split_is_refused(text):
    with contextlib.suppress(LenetAlexnetError):
        embedded(text)
