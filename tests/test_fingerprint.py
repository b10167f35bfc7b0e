"""What decides a run's bits besides its config, and what is refused if it differs."""

import json
import shutil

import jax
import numpy as np
import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.data import InMemory, checksums, dataset
from lenet_alexnet.data.streamed import Streamed
from lenet_alexnet.errors import UsageError
from lenet_alexnet.ops.cpu import native
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.training import fingerprint
from tests.helpers import faults
from tests.helpers.compiler import needs_compiler
from tests.helpers.signals_sent import LENET, send


def split(rng, side):
    images = rng.integers(0, 256, (40, side, side, 1)).astype(np.uint8)
    return InMemory(images, np.arange(40, dtype=np.int32) % 3, ("a", "b", "c"))


@pytest.mark.attack(
    "silent", "one pixel, label or class name differs", "the fingerprint of the data differs"
)
@pytest.mark.parametrize("side", [8, 5])  # whose bytes divide by 8, and do not
def test_each_pixel_label_and_class_counts(rng, side, monkeypatch):
    monkeypatch.setattr(dataset, "HASHED_IMAGES", 4)
    data = split(rng, side)
    x, y, names = data.images, data.labels, data.class_names

    def of(images=x, labels=y, class_names=names):
        return InMemory(images, labels, class_names).fingerprint()

    known = {of()}
    assert known == {of(x.copy(), y.copy())}
    for i in (0, 17, 39):
        images, labels = x.copy(), y.copy()
        images[i, 2, 3, 0] ^= 1
        labels[i] = (labels[i] + 1) % 3
        known |= {of(images), of(labels=labels)}
    known |= {of(x[::-1]), of(class_names=("a", "b", "d")), of(x[:-1], y[:-1])}
    assert len(known) == 10


def test_large_splits_are_looked_at_in_part(rng, monkeypatch):
    """So that a run on many gigabytes starts as fast."""
    data = split(rng, 8)
    whole = data.fingerprint()
    monkeypatch.setattr(dataset, "SUMMED_BYTES", 8 * 8 * 10)
    assert data.fingerprint() != whole
    assert data.fingerprint() == data.fingerprint()


@pytest.mark.attack(
    "silent", "other photos under the same names", "the fingerprint of the data differs"
)
def test_photos_on_disk_are_known_by_their_checksums(tmp_path):
    folder = faults.photos()
    first = Streamed("mine", str(folder), "train")
    assert first.fingerprint() == Streamed("mine", str(folder), "train").fingerprint()
    part = Streamed("mine", str(folder), "train[:40]")
    assert part.fingerprint() != first.fingerprint()
    listing = first.folder / checksums.FILE
    before = listing.read_text()
    sums = json.loads(before)
    name = first.parts[0][0].name
    try:
        listing.write_text(json.dumps(sums | {name: "0" * 64}))
        assert first.fingerprint() != part.fingerprint()
        other = first.fingerprint()
    finally:
        listing.write_text(before)
    assert first.fingerprint() != other


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    """A run that was stopped in training."""
    workdir = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as sending:
        send(sending, *LENET["training"][:2], *LENET["training"][2:4])
        assert main(["lenet-alexnet", *faults.command("lenet", workdir)]) == 75
    return workdir


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of the stopped run."""
    return shutil.copytree(stopped_once, tmp_path / "run")


def edit(workdir, **changed):
    content = json.loads((workdir / "run.json").read_text())
    (workdir / "run.json").write_text(json.dumps(content | changed))


def resume(workdir, *more):
    return main(["lenet-alexnet", *faults.command("lenet", workdir), *more])


@pytest.mark.attack(
    "silent", "a run resumes with other data", "one line, even if other bits are allowed"
)
@pytest.mark.slow
def test_a_run_goes_on_with_its_own_data_alone(stopped, capsys, monkeypatch):
    data = read_json(stopped / "run.json")["data"]
    assert data["train"]["examples"] == 300
    assert data["test"]["classes"] == 10
    monkeypatch.setattr(InMemory, "fingerprint", lambda _: "another")
    before = (stopped / "run.json").read_bytes()
    for more in ((), ("--allow-other-bits",)):  # Other data always make another run.
        assert resume(stopped, *more) == 2
        err = capsys.readouterr().err
        assert "holds a run on other data (data.train has other content)" in err.splitlines()[-1]
    assert (stopped / "run.json").read_bytes() == before
    monkeypatch.undo()
    assert resume(stopped) == 0


@pytest.mark.slow
def test_a_run_that_began_before_the_fingerprint_goes_on(stopped):
    content = json.loads((stopped / "run.json").read_text())
    for key in ("data", "switches", "loops"):
        content.pop(key, None)
    (stopped / "run.json").write_text(json.dumps(content))
    assert resume(stopped) == 0
    assert "hash" in read_json(stopped / "run.json")["data"]["train"]


def test_a_run_that_began_before_the_fingerprint_keeps_its_classes(stopped, capsys):
    content = json.loads((stopped / "run.json").read_text())
    del content["data"]
    content["class_names"] = content["class_names"][::-1]
    (stopped / "run.json").write_text(json.dumps(content))
    assert resume(stopped) == 2
    assert "holds a run on other classes" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.attack(
    "silent",
    "a run resumes with another precision of JAX",
    "one line, unless other bits are allowed",
)
@pytest.mark.slow
def test_other_precision_is_refused_unless_allowed(stopped, capsys):
    with jax.default_matmul_precision("bfloat16"):
        assert resume(stopped) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert "jax_default_matmul_precision None -> bfloat16" in line
        assert line.endswith("--allow-other-bits resumes it anyway")
        assert resume(stopped, "--allow-other-bits") == 0
    assert "warning: the run in" in capsys.readouterr().err
    assert read_json(stopped / "run.json")["switches"]["jax_default_matmul_precision"] == "bfloat16"


@pytest.mark.attack(
    "silent", "a run resumes where there is no compiler", "one line, unless other bits are allowed"
)
@needs_compiler
@pytest.mark.slow
def test_a_run_with_loops_goes_on_without_them_only_if_allowed(stopped, capsys, monkeypatch):
    assert read_json(stopped / "run.json")["loops"] is True
    monkeypatch.setattr(native, "compile_loops", lambda: "no C++ compiler was found")
    assert resume(stopped) == 2
    assert "it began with loops in C++, and no C++ compiler" in capsys.readouterr().err
    assert resume(stopped, "--allow-other-bits") == 0
    assert read_json(stopped / "run.json")["loops"] is False


@pytest.mark.attack(
    "silent",
    "a run that began without a compiler resumes where there is one",
    "the bits of one without",
)
@pytest.mark.slow
@needs_compiler
def test_a_run_that_began_without_loops_ends_in_the_bits_of_one_without(tmp_path, monkeypatch):
    a, b = tmp_path / "a", tmp_path / "b"
    with monkeypatch.context() as without:
        without.setattr(native, "compile_loops", lambda: "no C++ compiler was found")
        assert resume(a) == 0
        send(without, *LENET["training"][:2], *LENET["training"][2:4])
        assert resume(b) == 75
    assert read_json(b / "run.json")["loops"] is False
    assert resume(b) == 0
    assert faults.outcome(b) == faults.outcome(a)
    assert read_json(b / "run.json")["loops"] is False


def test_runs_of_both_forms_are_not_one_program():
    with (
        pytest.raises(UsageError, match="others without"),
        fingerprint.as_begun({"loops": True}, {"loops": False}, {}),
    ):
        pass


def test_where_data_are_and_how_jobs_are_launched_may_differ_between_processes(tiny_config):
    one = fingerprint.of_program(tiny_config)
    with tiny_config.unlocked():
        tiny_config.data.data_dir = "/elsewhere"
        tiny_config.launch.partition = "gpu"
    assert fingerprint.of_program(tiny_config) == one
    with tiny_config.unlocked():
        tiny_config.optimizer.learning_rate = 0.5
    changed = {
        key for key, value in fingerprint.of_program(tiny_config).items() if one[key] != value
    }
    assert changed == {"optimizer.learning_rate"}
    json.dumps(one)
