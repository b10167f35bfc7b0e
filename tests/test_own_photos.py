"""Photos in class folders: what is inferred, the held-out part, copies, formats, one command."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from lenet_alexnet import config as configs
from lenet_alexnet.cli import main, parsing
from lenet_alexnet.config import own_photos
from lenet_alexnet.data import duplicates, image_files, stratified
from lenet_alexnet.data.prepare import class_folders
from lenet_alexnet.data.sources import folder
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.losses import balanced_weights
from lenet_alexnet.training.experiment import build
from tests.helpers.photo_files import encoded, picture, write_classes

COUNTS = {"blue": 12, "green": 6, "red": 4}
SMALL = {
    "model.widths": (8, 8, 8, 8, 8),
    "model.dense_width": 16,
    "train.batch_size": 4,
    "train.duration": "12 steps",
}


@pytest.fixture
def photos(tmp_path):
    return write_classes(tmp_path / "mine", COUNTS)


def config_of(photos, **values):
    config = configs.load("alexnet_folder").get_config()
    with config.unlocked():
        config.data.data_dir = str(photos)
        config.update_from_flattened_dict(values)
    return config


def test_open_entries_are_filled_and_each_choice_is_printed(photos):
    config = config_of(photos, **{"train.batch_size": 5})
    lines = "\n".join(own_photos.resolve(config))
    flat = configs.flatten(config)
    assert not [key for key, value in own_photos.OPEN.items() if flat[key] == value]
    assert config.model.num_classes == 3
    assert config.model.image_size == config.data.photo.crop < config.data.image_size
    assert config.train.batch_size == 5  # It was not open.
    assert config.data.validation == "stratified_validation"
    assert config.data.test == ""
    for text in ("blue 12, green 6, red 4", "'blue' has 3.0 times as many photos as 'red'"):
        assert text in lines
    assert "18 photos are trained on, 4 are held out" in lines  # 10 + 5 + 3, and 2 + 1 + 1
    assert own_photos.resolve(config) == []


def test_info_prints_what_was_inferred(photos, capsys):
    flags = ["--config=alexnet_folder", f"--config.data.data_dir={photos}"]
    assert main(["lenet-alexnet", "info", *flags]) == 0
    done = capsys.readouterr()
    assert "18 photos are trained on" in done.err
    assert "fc8" in done.out


def test_the_number_of_photos_decides_the_network(photos, monkeypatch):
    small = config_of(photos)
    own_photos.resolve(small)
    large = config_of(photos)
    first, *rest = own_photos.SIZES
    monkeypatch.setattr(own_photos, "SIZES", (first._replace(below=18), *rest))
    own_photos.resolve(large)
    assert sum(large.model.widths) == 2 * sum(small.model.widths)
    assert large.data.image_size > small.data.image_size
    assert large.train.batch_size == 18  # There are no more.


def test_other_configs_have_no_open_entries(photos):
    config = config_of(photos, **{"data.source": "tfds"})
    assert own_photos.resolve(config) == []
    assert config.train.batch_size == 0


def test_folders_of_splits_are_used(photos, tmp_path):
    root = tmp_path / "splits"
    for split in ("train", "val", "test"):
        shutil.copytree(photos, root / split)
    config = config_of(root)
    own_photos.resolve(config)
    assert [config.data[s] for s in ("train", "validation", "test")] == ["train", "val", "test"]
    shutil.rmtree(root / "val")
    config = config_of(root)
    own_photos.resolve(config)
    assert [config.data[s] for s in ("train", "validation", "test")] == [
        "stratified_train",
        "stratified_validation",
        "test",
    ]
    assert len(folder.read(root, "stratified_train", 16, 3)) == 18


def test_what_is_left_out_is_reported(photos):
    (photos / "red" / "film.mov").write_bytes(b"no photo")
    (photos / "red" / "more").mkdir()
    (photos / "loose.jpg").write_bytes(encoded(picture(0)))
    lines = own_photos.resolve(config_of(photos))
    assert "left out: 2 files (.jpg, .mov) and 1 folders inside class folders" in lines


def refuse(photos, text, error=DataError):
    with pytest.raises(error, match=text):
        own_photos.resolve(config_of(photos))


def test_folders_that_hold_no_classes_are_refused_in_one_line(photos, tmp_path):
    refuse(tmp_path / "absent", "no folder")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "no class folders in .*expected <class>")
    write_classes(tmp_path / "one", {"red": 2})
    refuse(tmp_path / "one", "one class only, 'red'")
    for name in ("val", "validation"):
        shutil.copytree(photos, photos / name)
        refuse(photos, "'val' but no 'train'" if name == "val" else "both val and validation")
    refuse("", "names their folder", UsageError)


def files_of(photos, split):
    return set(folder.read(photos, split, 16, 3).names)


def test_a_fifth_of_each_class_is_held_out(photos):
    train, held_out = (files_of(photos, part) for part in folder.PARTS)
    assert not train & held_out
    assert len(train | held_out) == sum(COUNTS.values())
    counts = {name: sum(file.startswith(name) for file in held_out) for name in COUNTS}
    assert counts == {"blue": 2, "green": 1, "red": 1}


def test_one_more_photo_moves_at_most_one_across(photos):
    before = files_of(photos, "stratified_validation")
    (photos / "blue" / "new.jpg").write_bytes(encoded(picture(5)))
    after = files_of(photos, "stratified_validation")
    assert len(before ^ after) <= 2
    assert {n for n in before ^ after if not n.startswith("blue")} == set()


def test_copies_are_on_the_same_side(photos):
    for i in range(12):  # The same pixels in another file.
        Image.open(photos / "blue" / f"{i}.jpg").save(photos / "blue" / f"copy{i}.png")
    for part in folder.PARTS:
        names = {name for name in files_of(photos, part) if name.startswith("blue")}
        assert {name for name in names if "copy" in name} == {
            f"blue/copy{name[5:-4]}.png" for name in names if "copy" not in name
        }


def test_photos_with_two_labels_are_trained_on_not_measured(photos):
    for path in (photos / "red").iterdir():
        shutil.copy(path, photos / "green" / f"red{path.name}")
    assert not any("red" in name for name in files_of(photos, "stratified_validation"))
    train = folder.read(photos, "stratified_train", 16, 3)
    (line,) = duplicates.report(train, {})
    assert "4 photos of data.train are in more than one class, for example" in line


def test_shares_of_small_classes():
    assert [stratified.share_of(n) for n in (1, 2, 3, 5, 7, 8, 12, 13)] == [0, 1, 1, 1, 1, 2, 2, 3]
    assert stratified.held_out([0, 0, 1], [b"b", b"a", b"c"]) == [False, True, False]


def test_copies_across_given_splits_are_reported_with_an_example(photos, tmp_path):
    root = tmp_path / "splits"
    shutil.copytree(photos, root / "train")
    write_classes(root / "test", {"blue": 2, "green": 1, "red": 1}, size=(90, 90))
    train = folder.read(root, "train", 16, 3)
    assert duplicates.report(train, {"test": folder.read(root, "test", 16, 3)}) == []
    shutil.copy(root / "train" / "red" / "3.jpg", root / "test" / "red" / "again.jpg")
    (line,) = duplicates.report(train, {"test": folder.read(root, "test", 16, 3)})
    assert line.startswith("warning: 1 of 5 photos of data.test is also in data.train")
    assert "'test/red/again.jpg' = 'train/red/3.jpg'" in line


def test_all_photos_that_cannot_be_read_are_counted(photos):
    for i in (1, 2):
        whole = (photos / "blue" / f"{i}.jpg").read_bytes()
        (photos / "blue" / f"{i}.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"blue/1\.jpg.*and 1 more cannot be read"):
        folder.read(photos, "stratified_train", 16, 3)


def test_class_weights_auto_are_those_of_the_training_photos(photos):
    config = config_of(photos, **SMALL)
    own_photos.resolve(config)
    loss = build(config).train_loss
    assert loss.class_weights == (18 / (3 * 10), 18 / (3 * 5), 18 / (3 * 3))
    with config.unlocked():
        config.train.loss.class_weights = None
    assert build(config).train_loss.class_weights is None
    labels = np.array([0, 0, 2, 0])
    assert balanced_weights(labels, 3) == (4 / 9, 0.0, 4 / 3)


def test_class_weights_are_set_on_the_command_line(photos):
    from absl import flags

    def weights(text):
        config = config_of(photos)
        argv = ["train", f"--config.train.loss.class_weights={text}"]
        parsing.parse(flags.FlagValues(), argv, config)
        return config.train.loss.class_weights

    assert weights("auto") == "auto"
    assert weights("(1.0,2.0,0.5)") == (1.0, 2.0, 0.5)
    assert weights("None") is None
    with pytest.raises(UsageError, match="'equal' is neither 'auto' nor numbers"):
        build(config_of(photos, **SMALL, **{"train.loss.class_weights": "equal"}))


@pytest.mark.slow
def test_one_command_trains_evaluates_and_predicts(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = [f"--config.{key}={value}" for key, value in SMALL.items()]
    assert main(["lenet-alexnet", "train", f"--photos={photos}", *options]) == 0
    done = capsys.readouterr()
    assert "workdir: runs/mine" in done.err
    assert "balanced accuracy" in done.out
    summary = json.loads((tmp_path / "runs" / "mine" / "summary.json").read_text())
    result = summary["eval"]["validation"]
    assert [one["examples"] for one in result["by_class"]] == [2, 1, 1]
    errors = sum(one["errors"] for one in result["by_class"])
    assert result["top1_error"] == errors / 4
    evaluate = ["eval", "--workdir=runs/mine", "--checkpoint=last", "--json"]
    assert main(["lenet-alexnet", *evaluate]) == 0
    assert json.loads(capsys.readouterr().out)["by_class"] == result["by_class"]
    photo = str(photos / "red" / "0.jpg")
    assert main(["lenet-alexnet", "predict", "--workdir=runs/mine", photo]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{photo}: ")
    assert all(f"{name} " in out for name in COUNTS)


def test_photos_choose_their_config(photos, capsys):
    arguments = [f"--photos={photos}", "--config=lenet5_mnist", "--workdir=w"]
    assert main(["lenet-alexnet", "train", *arguments]) == 2
    assert "leave out --config" in capsys.readouterr().err
    assert main(["lenet-alexnet", "train", "--photos="]) == 2
    assert "names their folder" in capsys.readouterr().err


def test_heic_photos_ask_for_their_library_in_one_line(photos, monkeypatch):
    (photos / "red" / "IMG_1.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setattr(image_files.importlib.util, "find_spec", lambda name: None)
    refuse(photos, r"HEIC photos, such as .*IMG_1\.heic', need pillow-heif: pip", UsageError)
    with pytest.raises(UsageError, match="need pillow-heif: pip"):
        class_folders.read(photos)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"IMG_1\.heic.*need pillow-heif: pip install"):
        image_files.read(photos / "red" / "IMG_1.heic", 3)


def test_heic_photos_are_read(photos):
    heif = pytest.importorskip("pillow_heif")
    image = picture(3, (64, 48))
    exif = Image.Exif()
    exif[image_files.ORIENTATION] = 6
    heif.register_heif_opener()
    turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.save(photos / "red" / "IMG_1.HEIC", quality=95, exif=exif.tobytes())
    found = np.asarray(image_files.read(photos / "red" / "IMG_1.HEIC", 3)).astype(int)
    assert found.shape == (48, 64, 3)
    assert np.abs(found - np.asarray(image)).mean() < 6
    assert image_files.short_side(photos / "red" / "IMG_1.HEIC") == 48
    assert "red 5" in own_photos.resolve(config_of(photos))[0]
