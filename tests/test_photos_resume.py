"""Preparing photos again after a stop, damage or a lost plan."""

import pytest

from lenet_alexnet.data.prepare import shards
from lenet_alexnet.errors import DataError
from tests.helpers.photo_files import (
    make_official,
    prepare_imagenet,
)


@pytest.fixture
def official(tmp_path, monkeypatch):
    return make_official(tmp_path, monkeypatch)


def interrupted(official, data_dir, monkeypatch, after=3):
    """The folder of a preparation that stopped after a number of shards."""
    write, written = shards.write, []

    def some(shard, advance):
        if len(written) == after:
            raise DataError("stopped")
        written.append(shard.path.name)
        write(shard, advance)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "write", some)
        with pytest.raises(DataError, match="stopped"):
            prepare_imagenet(official, data_dir)
    return data_dir / "imagenet2012" / "5.1.0.partial", written


def resumed(official, data_dir, monkeypatch):
    """The folder of the resumed preparation, and the shards it had to write."""
    write, written = shards.write, []

    def count(shard, advance):
        written.append(shard.path.name)
        write(shard, advance)

    monkeypatch.setattr(shards, "write", count)
    return prepare_imagenet(official, data_dir), written


@pytest.mark.attack(
    "silent",
    "a power loss empties plan.json of a half prepared set",
    "finished shards are kept, those of another plan are not",
)
def test_finished_shards_survive_the_loss_of_the_plan(official, tmp_path, monkeypatch):
    whole = prepare_imagenet(official, tmp_path / "A")
    partial, before = interrupted(official, tmp_path / "B", monkeypatch)
    (partial / "parts" / "plan.json").write_bytes(b"")
    (partial / "imagenet2012-train.array_record-00000-of-00099").write_bytes(b"of another plan")
    folder, after = resumed(official, tmp_path / "B", monkeypatch)
    assert len(before) == len(after) == 3
    assert not set(before) & set(after)
    for path in whole.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()
    assert len(list(folder.iterdir())) == len(list(whole.iterdir()))


@pytest.mark.attack(
    "silent",
    "shards or their reports that are cut, changed or gone",
    "just these are written again",
)
@pytest.mark.parametrize("damage", ["empty report", "cut report", "cut", "flipped", "gone"])
def test_shards_that_are_not_as_written_are_written_again(official, tmp_path, monkeypatch, damage):
    whole = prepare_imagenet(official, tmp_path / "A")
    partial, before = interrupted(official, tmp_path / "B", monkeypatch)
    report = partial / "parts" / f"{before[1]}.npz"
    path = report if "report" in damage else partial / before[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= damage == "flipped"
    ends = {"empty report": 0, "cut report": len(content) // 2, "cut": len(content) // 2}
    path.write_bytes(content[: ends.get(damage)])
    if damage == "gone":
        path.unlink()
    folder, after = resumed(official, tmp_path / "B", monkeypatch)
    assert before[1] in after
    assert len(after) == 4
    assert (folder / before[1]).read_bytes() == (whole / before[1]).read_bytes()


@pytest.mark.attack(
    "one line", "manifest.json that is missing, empty or nested too deeply", "one line"
)
@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b"[" * 100_000])
def test_a_prepared_folder_without_a_whole_manifest_is_refused(official, tmp_path, content):
    folder = tmp_path / "imagenet2012" / "5.1.0"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match=r"or its manifest\.json is damaged: delete that folder"):
        prepare_imagenet(official, tmp_path)


@pytest.mark.attack(
    "silent",
    "a power loss while photos are prepared",
    "each file is on the disk before the folder has its name",
)
def test_all_is_on_the_disk_before_it_is_renamed(official, tmp_path, synced):
    folder = prepare_imagenet(official, tmp_path / "D")
    assert synced(folder)
