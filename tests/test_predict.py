import json
import os

import numpy as np
import pytest
from PIL import Image

from lenet_alexnet.cli import main
from lenet_alexnet.data import load_split
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.inference import glyph, read_images
from lenet_alexnet.inference.predict import predict
from lenet_alexnet.training.loop import train_and_evaluate
from tests.helpers.tiny_configs import make_tiny_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has learnt enough to recognise most digits."""
    config = make_tiny_config()
    with config.unlocked():
        config.data.train, config.train.duration = "train[:2000]", "400 steps"
    workdir = tmp_path_factory.mktemp("run")
    train_and_evaluate(config, workdir)
    return workdir


@pytest.fixture(scope="module")
def digits():
    return load_split(
        source="embedded", name="", data_dir="", split="test[:20]", image_size=28, channels=1
    )


def photograph(image, side=200):
    """Dark ink on slightly grey paper, off centre, in colour."""
    ink = Image.fromarray(255 - image[..., 0]).resize((side, side), Image.Resampling.BICUBIC)
    paper = Image.new("L", (3 * side, 2 * side), 230)
    paper.paste(ink.point(lambda v: min(v, 230)), (side + 40, 20))
    return paper.convert("RGB")


def test_digits_as_files_and_as_photographs_get_the_same_answer(run, digits, tmp_path):
    files = []
    for i, image in enumerate(digits.images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i}.png")
        photograph(image).save(tmp_path / f"{i}.jpg")
        files += [str(tmp_path / f"{i}.png"), str(tmp_path / f"{i}.jpg")]
    results = predict(run, files, top=1)
    found = np.array([int(r["predictions"][0]["class"]) for r in results]).reshape(-1, 2)
    assert (found[:, 0] == digits.labels).mean() >= 0.8
    assert (found[:, 1] == found[:, 0]).mean() >= 0.8


def test_an_image_of_28x28_is_taken_as_it_is(digits):
    for image in digits.images[..., 0]:
        assert np.array_equal(glyph.prepare(image).pixels, image)
        assert np.array_equal(glyph.prepare(255 - image).pixels, image)
        assert np.array_equal(glyph.prepare(255 - image, dark=False).pixels, 255 - image)


def test_a_photograph_is_centred_by_its_mass_in_mnists_box(digits):
    for image in digits.images[:5]:
        pixels = np.asarray(photograph(image).convert("L"))
        found = glyph.prepare(pixels).pixels.astype(float)
        rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)
        centre = [(found.sum(axis) * np.arange(28)).sum() / found.sum() for axis in (1, 0)]
        assert np.abs(np.array(centre) - 13.5).max() <= 0.75


@pytest.mark.attack(
    "silent", "an image for a network of other classes", "it is not treated as a digit"
)
@pytest.mark.slow
def test_an_image_of_another_data_sets_classes_is_no_digit(tmp_path):
    config = make_tiny_config()
    with config.unlocked():
        config.data.update(source="folder", data_dir=str(tmp_path / "D"), train="all", test="")
        config.train.duration = "2 steps"
    rng = np.random.default_rng(0)
    for i, name in enumerate(["Bag", "Coat"] * 10):
        file = tmp_path / "D" / name / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(file)
    with config.unlocked():
        config.model.num_classes = 2
    train_and_evaluate(config, tmp_path / "run")
    coat = np.full((56, 56), 250, np.uint8)
    coat[2:54, 8:48] = 40
    Image.fromarray(coat).save(tmp_path / "coat.png")
    show = tmp_path / "show.png"
    (result,) = predict(tmp_path / "run", [str(tmp_path / "coat.png")], show=str(show))
    assert result["warnings"] == []
    seen = np.asarray(Image.open(show))[::8, ::8]
    assert seen.shape == (28, 28)
    assert seen[14, 14] == 215  # still wide: not reduced to the width of a stroke
    assert seen[0, 0] == 5


@pytest.mark.attack("one line", "a blank page as a digit", "probabilities that sum to 1")
def test_a_blank_page_is_no_crash(run, tmp_path):
    Image.new("L", (50, 40), 255).save(tmp_path / "blank.png")
    (result,) = predict(run, [str(tmp_path / "blank.png")], top=10)
    assert sum(p["probability"] for p in result["predictions"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.attack("hangs", "predict of a FIFO", "one line; it is not opened")
def test_a_pipe_where_a_photo_should_be_is_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(DataError, match="no regular file"):
        read_images._photo(str(tmp_path / "x.jpg"), 64)


def test_the_command(run, digits, tmp_path, capsys):
    Image.fromarray(digits.images[0][..., 0]).save(tmp_path / "x.png")
    file = str(tmp_path / "x.png")
    assert main(["lenet-alexnet", "predict", f"--workdir={run}", file, "--top=3", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert len(result["predictions"]) == 3
    probabilities = [p["probability"] for p in result["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    (tmp_path / "text.png").write_text("no image")
    assert main(["lenet-alexnet", "predict", f"--workdir={run}", str(tmp_path / "text.png")]) == 1
    assert "text.png" in capsys.readouterr().err
    assert main(["lenet-alexnet", "predict", f"--workdir={run}", str(tmp_path / "none.png")]) == 1
    with pytest.raises(UsageError, match="auto"):
        predict(run, [file], invert="maybe")
