"""Checkpoints that are damaged, that cannot be written, that are listed and verified."""

import contextlib
import gc
import json
import resource
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.errors import DataError
from lenet_alexnet.runs import integrity, saver
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.training.state import Metrics, TrainState
from tests.helpers import damage


def make_state(step):
    kernel = jax.random.normal(jax.random.key(step), (40, 50))  # Random bytes cannot be compressed.
    params = {"C1": {"kernel": kernel, "bias": jnp.arange(4.0)}}
    return TrainState(jnp.int32(step), params, {}, None, {"mu": params}, Metrics.zero())


# Objects that orbax left after a failed save warn when they are collected.
abandoned = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def values(state):
    return jax.tree.map(np.asarray, state)


def same(a, b):
    return jax.tree.all(jax.tree.map(np.array_equal, values(a), values(b)))


@pytest.fixture(scope="module")
def template():
    return make_state(0)


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of the steps 10 (the best), 20 and 30."""
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        for step, error in ((10, 0.1), (20, 0.3), (30, 0.2)):
            checkpoints.save(step, make_state(step), error)
    return tmp_path / "checkpoints"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(saver, "RETRY_SECONDS", (0.0, 0.0))
    yield
    gc.collect()  # Objects left by a failed save warn here, where it is expected.


@contextlib.contextmanager
def disk_full(size):
    """No file can grow beyond `size` bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.attack(
    "silent", "ten kinds of damage to a checkpoint", "it is reported, and the one before is used"
)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if number < 2 else [pytest.mark.slow])
        for number, kind in enumerate(damage.KINDS)
    ],
)
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(folder, template, kind, capsys):
    damage.KINDS[kind](folder / "30")
    with Checkpoints(folder, read_only=True) as checkpoints:
        assert checkpoints.first_whole("last") == 20
        assert same(checkpoints.restore(20, template), make_state(20))
    assert (folder / "30").exists()  # Reading changes nothing.
    assert "checkpoint of step 30 is damaged" in capsys.readouterr().err
    with Checkpoints(folder) as checkpoints:
        assert (checkpoints.latest(), checkpoints.best()) == (20, 10)
        assert same(checkpoints.restore(20, template), make_state(20))
        checkpoints.save(30, make_state(30), 0.2, wait=True)  # The name can be used again.
        assert same(checkpoints.restore(30, template), make_state(30))
    assert capsys.readouterr().err.count("checkpoint of step 30 is damaged") == 1
    assert (folder / "damaged-30").exists()
    assert integrity.problem(folder / "30") is None


def test_what_is_whole_is_not_called_damaged(folder, capsys):
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest() == 30
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in folder.iterdir()) == ["10", "20", "30"]


@pytest.mark.attack(
    "silent", "all checkpoints are damaged", "one line; nothing starts from the beginning"
)
def test_when_none_is_whole_nothing_is_renamed_and_nothing_starts_anew(folder):
    for step in (10, 20, 30):
        damage.flip(damage.largest(folder / str(step)))
    for _ in range(2):
        with pytest.raises(DataError, match=r"is whole .* remove that folder to start again"):
            Checkpoints(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["10", "20", "30"]
    with (
        Checkpoints(folder, read_only=True) as checkpoints,
        pytest.raises(DataError, match="is whole"),
    ):
        checkpoints.first_whole("best")


def test_a_damaged_best_leaves_the_second_best(folder):
    damage.empty(folder / "10")
    with Checkpoints(folder, read_only=True) as checkpoints:
        assert checkpoints.first_whole("best") == 30


def test_best_and_last_survive_pruning(folder):
    with Checkpoints(folder) as checkpoints:
        for step in (40, 50, 60):
            checkpoints.save(step, make_state(step), 0.4 if step == 50 else None)
    assert [one.step for one in integrity.saved(folder)] == [60, 50, 10]


def test_of_equal_errors_the_later_is_the_best(folder):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(40, make_state(40), 0.1, wait=True)
        assert checkpoints.best() == 40
        assert checkpoints.first_whole("best") == 40


@pytest.mark.attack("silent", "a save that was killed", "it is never taken for a checkpoint")
def test_a_save_that_died_is_never_taken_for_a_checkpoint(folder, template):
    unfinished = folder / "40.orbax-checkpoint-tmp"
    (folder / "30").rename(unfinished)
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest() == 20
        checkpoints.save(40, make_state(40), None, wait=True)
        assert same(checkpoints.restore(40, template), make_state(40))
    assert not unfinished.exists()


@pytest.mark.attack("silent", "a kill while an old checkpoint is removed", "all others are whole")
def test_a_checkpoint_that_is_half_removed_is_no_longer_listed(folder, monkeypatch):
    """A removal begins with a rename; the next save, or the next run, does the rest."""

    def killed(_, **__):
        raise KeyboardInterrupt

    with Checkpoints(folder) as checkpoints:
        checkpoints.save(40, make_state(40), None, wait=True)
        assert [one.step for one in integrity.saved(folder)] == [40, 30, 10]
        half = folder / integrity.REMOVED / "20"
        damage.empty(half)
        monkeypatch.setattr(saver.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(50, make_state(50), None, wait=True)
        monkeypatch.undo()
        assert half.exists()
        assert not any(integrity.problem(one.folder) for one in integrity.saved(folder))
        checkpoints.save(60, make_state(60), None, wait=True)
        assert not half.exists()
    assert not [*folder.glob(f"{integrity.REMOVED}*")]
    assert [one.step for one in integrity.saved(folder)] == [60, 40, 10]


@abandoned
@pytest.mark.parametrize("size", [64, 700])  # Only the arrays among orbax's own files.
def test_a_full_disk_keeps_what_is_there_and_is_one_clear_error(folder, template, capsys, size):
    with Checkpoints(folder) as checkpoints:
        with disk_full(size), pytest.raises(DataError, match=r"cannot save .* step 40 .* step 30"):
            checkpoints.save(40, make_state(40), None, wait=True)
        assert "trying again" in capsys.readouterr().err
        assert checkpoints.latest() == 30
        assert same(checkpoints.restore(30, template), make_state(30))
    assert [one.step for one in integrity.saved(folder)] == [30, 20, 10]


@abandoned
@pytest.mark.parametrize("size", [64, 700])
def test_a_save_that_failed_behind_is_made_good_by_the_next(folder, template, capsys, size):
    with Checkpoints(folder) as checkpoints:
        with disk_full(size):
            checkpoints.save(40, make_state(40), None)
            checkpoints.latest()  # It has been started.
            while checkpoints._saver.manager._finalize_thread.get_not_none().is_alive():
                time.sleep(0.01)
        assert "trying" not in capsys.readouterr().err
        checkpoints.save(50, make_state(50), None)
        assert "could not be saved" in capsys.readouterr().err
        assert checkpoints.latest() == 50
        assert same(checkpoints.restore(50, template), make_state(50))
        last, before, best = (one.step for one in integrity.saved(folder))
        assert (last, best) == (50, 10)
        # On a disk with room again, orbax may complete the failed save as it is closed.
        assert before in (30, 40)
        assert same(checkpoints.restore(before, template), make_state(before))


@pytest.mark.attack("one line", "the folder of a run becomes read-only", "one line")
def test_a_folder_that_became_read_only_is_one_clear_error(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    with Checkpoints(folder) as checkpoints:
        manager = type(checkpoints._saver.manager)
        monkeypatch.setattr(manager, "save", refuse)
        with pytest.raises(DataError, match="Read-only file system"):
            checkpoints.save(40, make_state(40), None, wait=True)
    assert [one.step for one in integrity.saved(folder)] == [30, 20, 10]


def test_a_checkpoint_is_replaced_once_it_is_evaluated(folder):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(40, make_state(40), None, wait=True)
        checkpoints.save(40, make_state(40), 0.05, wait=True)
        assert checkpoints.best() == checkpoints.latest() == 40


def test_a_save_is_overdue_after_so_many_minutes(folder, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Checkpoints(folder, minutes=2) as checkpoints, Checkpoints(folder) as never:
        assert not checkpoints.overdue()
        clock[0] += 119
        assert not checkpoints.overdue()
        clock[0] += 1
        assert checkpoints.overdue()
        assert not never.overdue()
        checkpoints.save(40, make_state(40), None)
        assert not checkpoints.overdue()


def call(capsys, *arguments):
    code = main(["lenet-alexnet", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.attack(
    "one line", "ckpt verify of a damaged checkpoint", "a table, then one line, exit code 1"
)
def test_ckpt_list_show_and_verify(folder, capsys):
    code, out, _ = call(capsys, "ckpt", "list", folder.parent)
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[1] for line in lines] == ["30", "20", "10"]
    assert lines[0].endswith("last")
    assert lines[2].endswith("best")
    assert "error 10.00 %" in lines[2]
    listed = json.loads(call(capsys, "ckpt", "list", folder.parent, "--json")[1])
    assert [row["top1_error"] for row in listed] == [0.2, 0.3, 0.1]
    code, out, _ = call(capsys, "ckpt", "show", folder.parent)
    assert code == 0
    assert out.splitlines()[:2] == ["step 30", "variables: 2 arrays"]
    assert out.splitlines()[3].split() == ["params.C1.kernel", "float32[40,50]"]
    assert call(capsys, "ckpt", "verify", folder.parent)[0] == 0
    damage.flip(damage.largest(folder / "20"))
    code, out, err = call(capsys, "ckpt", "verify", folder.parent)
    assert (code, err) == (1, "error: 1 of 3 checkpoints are damaged\n")
    assert out.count("whole") == 2
    assert "damaged" in out.splitlines()[1]
    problems = json.loads(call(capsys, "ckpt", "verify", folder.parent, "--json")[1])
    assert [bool(row["problem"]) for row in problems] == [False, True, False]


def test_ckpt_needs_no_jax(folder):
    script = (
        "import sys; from lenet_alexnet.cli import main;"
        "codes = [main(['x', 'ckpt', a, sys.argv[1]]) for a in ('list', 'show', 'verify')];"
        "print(codes, [m for m in ('jax', 'orbax', 'flax') if m in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(folder.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0] []"


def test_sha256sum_reads_the_checksums(folder):
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder / "30")
    assert done.returncode == 0


@pytest.mark.slow
def test_several_runs_of_one_process_save_at_once(tmp_path, template):
    with contextlib.ExitStack() as stack:
        lanes = [stack.enter_context(Checkpoints(tmp_path / str(i))) for i in range(3)]
        for step in range(1, 9):
            for lane in lanes:
                lane.save(step, make_state(step), None)
        for lane in lanes:
            lane.wait()
            assert lane.latest() == 8
            assert same(lane.restore(8, template), make_state(8))
