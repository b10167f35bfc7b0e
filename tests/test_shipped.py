"""Configs by name, the command `configs`, and what works without the extra `data`."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenet_alexnet import config as configs
from lenet_alexnet.cli import main
from lenet_alexnet.config import shipped
from lenet_alexnet.data import extra, load_split
from lenet_alexnet.data.prepare import datasets
from lenet_alexnet.data.sources import prepared
from lenet_alexnet.data.streamed import Streamed
from lenet_alexnet.doctor import data_sets
from lenet_alexnet.errors import UsageError
from tests.helpers import ROOT
from tests.helpers.idx_files import write_idx

FILES = sorted((ROOT / "configs").glob("**/*.py"))


def call(capsys, *arguments):
    code = main(["lenet-alexnet", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_names_are_those_of_the_files():
    assert shipped.names()[:1] == ["alexnet_2012"]
    assert {shipped.path_of(name) for name in shipped.names()} == set(FILES)
    # Copies of any two configs fit into one folder.
    assert len({path.name for path in FILES}) == len(FILES)


@pytest.mark.parametrize("name", ["lenet5_quickstart", "sweeps/lenet5_lr_seeds"])
def test_a_name_is_that_of_a_shipped_config_wherever_one_is(name, tmp_path, monkeypatch):
    expected = configs.load(str(ROOT / "configs" / f"{name}.py"))
    monkeypatch.chdir(tmp_path)
    # Neither a folder nor a file of this name changes that.
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / f"{name}.py").write_text("raise SystemExit")
    found = configs.load(name)
    assert found.get_config() == expected.get_config()
    assert hasattr(found, "sweep") == hasattr(expected, "sweep")


def test_a_file_of_the_same_name_is_named_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = shipped.path_of("lenet5_quickstart").read_text()
    (tmp_path / "lenet5_quickstart.py").write_text(text.replace("config.lock()", "config"))
    for path in (
        "lenet5_quickstart.py",
        "./lenet5_quickstart.py",
        f"{tmp_path}/lenet5_quickstart.py",
    ):
        assert not configs.load(path).get_config().is_locked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenet5_quikstart", "no config 'lenet5_quikstart': did you mean 'lenet5_quickstart'"),
        ("sweeps/lenet5_lr_seed", "did you mean 'sweeps/lenet5_lr_seeds'"),
        ("lenet5_lr_seeds", "did you mean 'sweeps/lenet5_lr_seeds'"),
        ("configs/lenet5_mnist", "did you mean 'lenet5_mnist'"),
        ("configs/lenet5_mnist.py", "the package has it: --config=lenet5_mnist"),
        (
            "configs/sweeps/lenet5_lr_seeds.py",
            "the package has it: --config=sweeps/lenet5_lr_seeds",
        ),
        ("other.py", "no config file 'other.py'"),
        ("../lenet5_mnist", "no config file '../lenet5_mnist'"),
    ],
)
def test_unknown_names(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as raised:
        configs.load(name)
    assert message in str(raised.value)


def test_list_has_every_config_with_its_first_line(capsys):
    code, out, _ = call(capsys, "configs", "list")
    lines = out.splitlines()
    assert (code, len(lines)) == (0, len(FILES))
    for name, line in zip(shipped.names(), lines, strict=True):
        module = ast.parse(shipped.path_of(name).read_text())
        assert line.split() == [name, *ast.get_docstring(module).splitlines()[0].split()]


def test_show_prints_the_file(capsys):
    code, out, _ = call(capsys, "configs", "show", "sweeps/lenet5_search")
    assert (code, out) == (0, (ROOT / "configs" / "sweeps" / "lenet5_search.py").read_text())


@pytest.mark.parametrize("name", shipped.names())
def test_a_copy_is_complete(name, tmp_path, monkeypatch):
    """It loads in its folder, and every file there is needed."""
    expected = configs.load(name).get_config()
    copies = shipped.copy(name, tmp_path / "copies")
    monkeypatch.setattr(shipped, "CONFIGS", tmp_path / "none")
    assert configs.load(str(copies[0])).get_config() == expected
    for copied in copies[1:]:
        text = copied.read_text()
        copied.unlink()
        with pytest.raises(UsageError, match=f"No module named '{copied.stem}'"):
            configs.load(str(copies[0]))
        copied.write_text(text)


def test_copy_names_the_files(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(capsys, "configs", "copy", "alexnet_2012")
    assert (code, out) == (0, "copied: alexnet_2012.py, alexnet_imagenet.py\n")
    code, out, _ = call(capsys, "configs", "copy", "sweeps/lenet5_lr_seeds", "new/folder")
    assert (code, out) == (
        0,
        "copied: new/folder/lenet5_lr_seeds.py, new/folder/lenet5_quickstart.py\n",
    )
    # Another config with the same neighbour, and the same one again.
    assert call(capsys, "configs", "copy", "alexnet_caffe")[0] == 0
    assert call(capsys, "configs", "copy", "alexnet_caffe")[0] == 0


@pytest.mark.parametrize("there", ["alexnet_2012.py", "alexnet_imagenet.py"])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_copy_never_overwrites(there, kind, capsys, tmp_path):
    path = tmp_path / there
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nothing")
    code, out, err = call(capsys, "configs", "copy", "alexnet_2012", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"'{path}' exists and has other content" in err
    assert [file.name for file in tmp_path.iterdir()] == [there]
    assert kind != "file" or path.read_text() == "mine"


@pytest.fixture
def without_extra(monkeypatch):
    """The libraries of the extra `data` cannot be imported."""
    for name in list(sys.modules):
        if name.partition(".")[0] in extra.LIBRARIES:
            monkeypatch.delitem(sys.modules, name)
    for name in extra.LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None)


NEEDS = (
    "prepared data sets need array_record, importlib_resources, tensorflow_datasets and xxhash: "
    "pip install 'lenet-alexnet[data]'"
)


@pytest.mark.parametrize(
    "use",
    [
        lambda folder: prepared.find("mnist", folder),
        lambda folder: prepared.sizes(Path(folder)),
        lambda folder: Streamed("mnist", folder, "train"),
        lambda folder: datasets.prepare("mnist", source=folder, data_dir=folder),
        lambda folder: datasets.prepare("folder", source=folder, data_dir=folder, name="mine"),
        lambda folder: load_split(
            source="tfds", name="mnist", data_dir=folder, split="train", image_size=28, channels=1
        ),
    ],
    ids=["find", "sizes", "stream", "prepare", "prepare photos", "load"],
)
def test_prepared_data_sets_ask_for_the_extra(use, without_extra, tmp_path):
    with pytest.raises(UsageError) as raised:
        use(str(tmp_path))
    assert str(raised.value) == NEEDS
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(without_extra, monkeypatch):
    for name in extra.LIBRARIES[1:]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UsageError, match="need array_record: pip install"):
        extra.require()
    monkeypatch.delitem(sys.modules, extra.LIBRARIES[0])
    extra.require()


def test_commands_ask_for_the_extra_in_one_line(without_extra, capsys, tmp_path):
    for arguments in (
        ["train", "--config=lenet5_mnist", f"--workdir={tmp_path / 'w'}"],
        ["train", "--config=alexnet_imagenet", f"--workdir={tmp_path / 'w'}"],
        ["data", "prepare", "mnist", f"--data_dir={tmp_path}"],
    ):
        assert call(capsys, *arguments) == (2, "", f"error: {NEEDS}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_doctor_names_the_extra(without_extra, tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    (found,) = data_sets.examine(str(tmp_path))
    assert (found.kind, found.mend) == ("fails", extra.INSTALL)


@pytest.mark.parametrize("source", ["folder", "idx"])
@pytest.mark.slow
def test_other_sources_train_without_the_extra(source, without_extra, tiny_config, tmp_path):
    from lenet_alexnet.training.loop import train_and_evaluate

    pixels = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
    data = tmp_path / "data"
    if source == "idx":
        data.mkdir()
        write_idx(data / "train-images-idx3-ubyte", pixels)
        write_idx(data / "train-labels-idx1-ubyte", np.arange(40, dtype=np.uint8) % 10)
    for i, image in enumerate(pixels if source == "folder" else ()):
        folder = data / "train" / str(i % 10)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    with tiny_config.unlocked():
        tiny_config.data.update(source=source, data_dir=str(data), train="train", test="")
        tiny_config.train.duration = "4 steps"
    assert train_and_evaluate(tiny_config, tmp_path / "w")["status"] == "completed"
