"""Digits drawn on paper, read by the quickstart's network; tuned on other seeds than these."""

import json

import numpy as np
import pytest
from PIL import Image

from lenet_alexnet import config as configs
from lenet_alexnet.cli import main
from lenet_alexnet.data import image_files
from lenet_alexnet.data.sources import embedded
from lenet_alexnet.inference import glyph
from lenet_alexnet.inference.ink import find_ink
from lenet_alexnet.inference.predict import predict
from lenet_alexnet.training.loop import train_and_evaluate
from tests.helpers import ROOT, drawn_digits

SEED = 2024


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory):
    """A run of the quickstart for a quarter of its epochs."""
    config = configs.load(str(ROOT / "configs" / "lenet5_quickstart.py")).get_config()
    with config.unlocked():
        config.train.duration = "10 epochs"
    workdir = tmp_path_factory.mktemp("quickstart")
    train_and_evaluate(config, workdir)
    return workdir


def saved(pixels, path, **options):
    Image.fromarray(pixels).save(path, **options)
    return str(path)


def read(workdir, drawings, folder):
    """The predictions, their probabilities, and whether there is a warning."""
    files = [saved(d.pixels, folder / f"{i}.png") for i, d in enumerate(drawings)]
    results = predict(workdir, files, top=1)
    best = [result["predictions"][0] for result in results]
    answers, probabilities = zip(*((b["index"], b["probability"]) for b in best), strict=True)
    return np.array(answers), np.array(probabilities), [bool(r["warnings"]) for r in results]


@pytest.mark.slow
def test_drawn_digits_are_read_on_any_paper_with_any_pen(quickstart, tmp_path):
    drawings = drawn_digits.drawings(SEED, 40)
    assert {d.paper for d in drawings} == set(drawn_digits.PAPERS)
    assert {(d.digit, d.chalk) for d in drawings} == {(n, c) for n in range(10) for c in (0, 1)}
    answers, probabilities, warned = read(quickstart, drawings, tmp_path)
    right = answers == [d.digit for d in drawings]
    assert right.sum() >= 36
    assert not (~right & (probabilities > 0.99) & ~np.array(warned)).any()
    assert np.mean(warned) <= 0.2  # A warning that always appears is useless.


@pytest.mark.slow
def test_drawn_digits_under_light_that_falls_off_by_a_third(quickstart, tmp_path):
    drawings = drawn_digits.drawings(SEED + 1, 20, falloff=0.35, paper=0.97, chalk=False)
    answers, _, _ = read(quickstart, drawings, tmp_path)
    assert (answers == [d.digit for d in drawings]).sum() >= 18


@pytest.mark.slow
def test_drawn_digits_of_mnist_on_paper_stay_at_the_nets_accuracy(quickstart, tmp_path):
    test = embedded.read("test")
    files = []
    for i, image in enumerate(test.images[:200, ..., 0]):
        ink = Image.fromarray(255 - image).resize((200, 200), Image.Resampling.BICUBIC)
        page = Image.new("L", (300, 260), 230)
        page.paste(ink.point(lambda v: min(v, 230)), (60, 30))
        page.save(tmp_path / f"{i}.page.png")
        saved(image, tmp_path / f"{i}.png")
        files += [str(tmp_path / f"{i}.png"), str(tmp_path / f"{i}.page.png")]
    results = predict(quickstart, files, top=1)
    found = np.array([r["predictions"][0]["index"] for r in results]).reshape(-1, 2)
    as_they_are, on_paper = (found == test.labels[:200, None]).mean(0)
    assert on_paper >= as_they_are - 0.015


def test_drawn_digits_get_strokes_of_mnists_width():
    widths = []
    for drawing in drawn_digits.drawings(7, 20):
        found = glyph.prepare(drawing.pixels).pixels
        fine = Image.fromarray(found).resize((224, 224), Image.Resampling.BICUBIC)
        widths.append(glyph.stroke_width(np.asarray(fine) > 127) / 8)
    low, high = glyph.WIDTHS
    assert low - 0.3 <= min(widths) <= max(widths) <= high + 0.3


@pytest.mark.parametrize("chalk", [False, True])
def test_drawn_digits_in_any_file_give_the_same_glyph(tmp_path, chalk):
    drawing = drawn_digits.drawings(3, 3, chalk=chalk)[2]
    pixels, expected = drawing.pixels, glyph.prepare(drawing.pixels).pixels.astype(int)
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: the file lies on its side.
    turned = np.rot90(pixels)
    clear = np.dstack([np.zeros_like(pixels)] * 3 + [255 - pixels])  # On white it equals `pixels`.
    files = {
        "deep.png": ((pixels.astype(np.uint16) * 257), {}),
        "turned.jpg": (turned, {"exif": exif, "quality": 95}),
        "clear.png": (clear, {}),
    }
    for name, (content, options) in files.items():
        path = saved(np.ascontiguousarray(content), tmp_path / name, **options)
        found = glyph.prepare(np.asarray(image_files.read(path, 1))).pixels
        assert np.abs(found - expected).mean() < 3, name


def test_drawn_digits_cut_at_their_ink_keep_their_polarity():
    for drawing in drawn_digits.drawings(11, 20, pen=0.05):
        ink = find_ink(drawing.pixels / np.float32(255), dark=not drawing.chalk)
        rows, columns = (np.flatnonzero(ink.mask.any(axis)) for axis in (1, 0))
        scale = len(drawing.pixels) / len(ink.mask)
        (top, bottom), (left, right) = (
            (int(at[0] * scale), int(at[-1] * scale)) for at in (rows, columns)
        )
        cut = drawing.pixels[top : bottom + 1, left : right + 1]
        found, expected = (glyph.prepare(p).pixels.astype(int) for p in (cut, drawing.pixels))
        if drawing.digit != 1:  # cut to its ink, it has hardly any paper
            assert np.abs(found - expected).mean() < 16, (drawing.digit, drawing.chalk)


def scribble(rng):
    path = [tuple(point) for point in rng.uniform(0.1, 0.9, (25, 2))]
    ink = drawn_digits._ink([drawn_digits._curve(path) * 300], 8, 300, 300)
    return (230 - 180 * ink).astype(np.uint8)


def two_digits(rng):
    pair = drawn_digits.drawings(1, 2, pen=0.05, falloff=0.0, paper=0.97, chalk=False)
    return np.concatenate([d.pixels[:200, :200] for d in pair], 1)


def disc(rng):
    y, x = np.mgrid[-1:1:300j, -1:1:300j]
    return np.where(np.hypot(x, y) < 0.7, 30, 230).astype(np.uint8)


def photograph(rng):
    small = rng.integers(0, 256, (12, 16), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC))


def blank(rng):
    return rng.normal(200, 2, (240, 320)).astype(np.uint8)


@pytest.mark.parametrize(
    ("draw", "reason"),
    [
        (scribble, "too many strokes"),
        (two_digits, "separate parts"),
        (disc, "area wider than any stroke"),
        (photograph, "as in a photograph"),
        (blank, "no ink"),
    ],
)
def test_what_is_no_drawn_digits_picture_is_reported(draw, reason, rng):
    assert any(reason in doubt for doubt in glyph.prepare(draw(rng)).doubts)


@pytest.mark.slow
def test_drawn_digits_warnings_and_what_the_network_sees(quickstart, tmp_path, capsys):
    drawings = drawn_digits.drawings(5, 9)
    files = [saved(d.pixels, tmp_path / f"{i}.png") for i, d in enumerate(drawings)]
    files.append(saved(blank(np.random.default_rng(0)), tmp_path / "blank.png"))
    command = ["lenet-alexnet", "predict", f"--workdir={quickstart}", *files, "--json"]
    assert main([*command, f"--show={tmp_path / 'sheet.png'}"]) == 0
    out, err = capsys.readouterr()
    results = json.loads(out)
    assert err.count("warning: ") == sum(len(result["warnings"]) for result in results)
    assert f"warning: {files[-1]}: this may be no digit: it shows no ink" in err
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))[::8, ::8]
    assert sheet.shape == (2 * 28 + 1, 8 * 28 + 7)
    for i, drawing in enumerate(drawings):
        top, left = 29 * (i // 8), 29 * (i % 8)
        seen = sheet[top : top + 28, left : left + 28]
        assert np.array_equal(seen, glyph.prepare(drawing.pixels).pixels)
    assert main([*command, "--show=sheet.jpg"]) == 2
    assert main([*command, f"--show={tmp_path / 'none' / 'sheet.png'}"]) == 1
    assert capsys.readouterr().err.count("error: ") == 2


@pytest.mark.slow
def test_drawn_digits_with_a_doubtful_answer_are_reported(quickstart, tmp_path):
    plain = embedded.read("test").images[:30, ..., 0]
    mixed = np.maximum(plain[:15], plain[15:])  # one over the other
    files = [saved(x, tmp_path / f"{i}.png") for i, x in enumerate([*plain[:15], *mixed])]
    results = predict(quickstart, files, top=1)
    low = [result["predictions"][0]["probability"] < 0.9 for result in results]
    assert [any("doubtful" in w for w in result["warnings"]) for result in results] == low
    assert sum(low[:15]) < sum(low[15:])
