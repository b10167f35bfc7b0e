"""Files are written whole and never through links; folders are locked, moved and removed."""

import json
import os
import shutil
import threading
import time

import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.runs import lock
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.directory import RunDirectory, write_json
from lenet_alexnet.runs.metrics import MetricsLog
from lenet_alexnet.runtime import storage
from tests.helpers import faults


@pytest.fixture
def mine(tmp_path):
    """A file of the user, outside any run."""
    path = tmp_path / "mine"
    path.write_text("precious\n")
    yield path
    assert path.read_text() == "precious\n"


@pytest.mark.attack("silent", "an error while a file is written", "the file is as it was")
def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "f.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["f.json"]
    (tmp_path / ".f.json.new").write_text("half of what a killed process wro")
    write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}


@pytest.mark.attack(
    "silent", "a power loss while a file is replaced", "it is there whole, the old or the new"
)
def test_content_and_name_are_on_disk_before_the_file_counts(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda n: (calls.append(os.readlink(f"/proc/self/fd/{n}")), fsync(n))
    )
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("renamed"), replace(*a)))
    write_json(tmp_path / "f.json", {})
    assert calls == [str(tmp_path / ".f.json.new"), "renamed", str(tmp_path)]


@pytest.mark.attack("hangs", "a link or FIFO in place of a run's file", "one line")
@pytest.mark.parametrize("link", [os.symlink, None], ids=["link", "pipe"])
def test_neither_links_nor_pipes_are_opened(tmp_path, mine, link):
    path = tmp_path / "x"
    if link:
        link(mine, path)
    else:
        os.mkfifo(path)
    for mode in ("r", "a", "w"):
        with pytest.raises(OSError, match=r"it is a link|no ordinary file|No such device"):
            storage.open_here(path, mode)


@pytest.mark.attack(
    "foreign",
    "the file that a write prepares is a link",
    "the link is replaced, what it leads to is as it was",
)
def test_a_link_is_replaced_and_not_followed(tmp_path, mine):
    for name in ("f.json", ".f.json.new"):
        (tmp_path / name).symlink_to(mine)
    write_json(tmp_path / "f.json", {})
    assert not (tmp_path / "f.json").is_symlink()
    assert (tmp_path / "f.json").read_text() == "{}\n"


@pytest.mark.attack(
    "foreign",
    ".lock, metrics.jsonl or checkpoints is a link",
    "one line; nothing is written through it",
)
@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "checkpoints"])
def test_a_run_folder_with_links_is_refused(tmp_path, mine, name, capsys):
    workdir = tmp_path / "w"
    workdir.mkdir()
    (workdir / name).symlink_to(mine if name != "checkpoints" else tmp_path)
    assert main(["lenet-alexnet", *faults.command("lenet", workdir)]) in (1, 2)
    err = capsys.readouterr().err
    assert "link" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.attack("silent", "the lock file of a run is deleted", "a second run is still refused")
def test_a_lock_file_that_is_deleted_lets_no_second_run_in(tmp_path):
    with lock.hold(tmp_path) as held:
        (tmp_path / lock.NAME).unlink()
        with pytest.raises(UsageError, match="in use by another process"), lock.hold(tmp_path):
            pass
        held.check()
    with lock.hold(tmp_path):
        pass


@pytest.mark.attack(
    "silent", "the lock file is deleted where folders cannot be locked", "the run ends in one line"
)
def test_where_folders_cannot_be_locked_the_loss_of_the_lock_file_is_noticed(tmp_path, monkeypatch):
    """As on NFS."""
    flock = storage.fcntl.flock

    def of_files(file, how):
        if not hasattr(file, "write"):
            raise OSError(9, "Bad file descriptor")
        flock(file, how)

    monkeypatch.setattr(storage.fcntl, "flock", of_files)
    with lock.hold(tmp_path) as held:
        held.check()
        with pytest.raises(UsageError, match="in use by process"), lock.hold(tmp_path):
            pass
        (tmp_path / lock.NAME).unlink()
        with pytest.raises(DataError, match=r"\.lock' was removed"):
            held.check()


# Objects that orbax left when its folder was removed warn when they are collected.
@pytest.mark.attack(
    "silent",
    "the folder of a run is moved, removed or replaced",
    "the run ends in one line and makes no other folder",
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
@pytest.mark.slow
def test_a_run_whose_folder_goes_ends_in_one_line_and_makes_no_other(
    tmp_path, monkeypatch, how, capsys
):
    workdir, aside, write = tmp_path / "w", tmp_path / "aside", MetricsLog.write
    changed = []

    def disturb(log, row):
        write(log, row)
        if row["step"] >= 30 and not changed:
            changed.append(how)
            workdir.rename(aside)
            if how == "removed":
                shutil.rmtree(aside)
            if how == "replaced":
                workdir.mkdir(exist_ok=True)  # Orbax may have made it again to write an array.
                (workdir / "other").touch()

    monkeypatch.setattr(MetricsLog, "write", disturb)
    assert main(["lenet-alexnet", *faults.command("lenet", workdir)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: workdir '{workdir}' was removed or moved while the run wrote to it"
    assert changed == [how]
    assert workdir.exists() == (how == "replaced")
    if how == "replaced":
        assert list(workdir.iterdir()) == [workdir / "other"]


def test_what_is_still_written_after_the_folder_went_is_removed(tmp_path):
    """As by orbax, which does not wait for all arrays when one cannot be written."""
    folder, gone = tmp_path / "w" / "checkpoints", threading.Event()

    def check():
        if gone.is_set():
            raise DataError("it was removed")

    def write():
        for _ in range(5):
            time.sleep(0.1)
            (folder / "24.orbax-checkpoint-tmp").mkdir(parents=True, exist_ok=True)

    writer = threading.Thread(target=write)
    with Checkpoints(folder, check=check):
        shutil.rmtree(tmp_path / "w")
        gone.set()
        writer.start()
    writer.join()
    assert not (tmp_path / "w").exists()


@pytest.mark.attack("silent", "another run takes over the folder", "nothing more is written to it")
def test_the_folder_of_another_is_no_longer_written(tmp_path, tiny_config):
    workdir = tmp_path / "w"
    with lock.hold(workdir) as held:
        run = RunDirectory(workdir, tiny_config, held=held)
        run.begin(["a"])
        workdir.rename(tmp_path / "elsewhere")
        with pytest.raises(DataError, match="removed or moved"):
            run.write_summary({"status": "completed"})
    assert not workdir.exists()
