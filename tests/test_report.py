import html
import json
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lenet_alexnet.cli import main
from lenet_alexnet.errors import DataError
from lenet_alexnet.models import create_model
from lenet_alexnet.report import errors, kernels, maps, neighbours, page
from lenet_alexnet.report.subject import Subject, first_of_each_class, judge
from lenet_alexnet.report.tiles import mosaic
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.runs.directory import RunDirectory
from lenet_alexnet.training import state
from lenet_alexnet.training.loop import train_and_evaluate
from tests.helpers.tiny_configs import (
    make_photo_config,
    make_tiny_1998_config,
    make_tiny_config,
)

SECTIONS = (
    "curves",
    "kernels",
    "maps",
    "errors",
    "confusion",
    "reject",
    "top5",
    "neighbours",
)


def call(capsys, *arguments):
    code = main(["lenet-alexnet", *arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    train_and_evaluate(make_tiny_config(), workdir)
    return workdir


@pytest.fixture(scope="module")
def subject(run):
    return Subject(run)


def test_the_page_has_everything_inside_it(run, capsys):
    code, out, err = call(capsys, "report", f"--workdir={run}")
    assert code == 0
    assert "not drawn" not in err
    assert str(run / "report.html") in out
    page = (run / "report.html").read_text()
    assert re.findall(r'<section id="(\w+)">', page) == [*SECTIONS, "wall_time"]
    images = re.findall(r'<img[^>]*src="([^"]*)"', page)
    assert len(images) == page.count("<img") == len(SECTIONS)
    assert all(image.startswith("data:image/png;base64,iVBOR") for image in images)
    assert not re.search(r"https?://|<script|<link|url\(", page)
    assert {path.stem for path in (run / "report").glob("*.png")} == set(SECTIONS)

    code, out, _ = call(capsys, "eval", f"--workdir={run}", "--json")
    result = json.loads(out)
    count = round(result["top1_error"] * result["examples"])
    assert f"error</th><td>{100 * result['top1_error']:.2f} % ({count} of 110)</td>" in page
    assert f"top-5 error</th><td>{100 * result['top5_error']:.2f} %</td>" in page
    assert f"loss</th><td>{result['loss']:.4f}</td>" in page
    assert f"step {result['step']}" in page
    assert "60 steps, seed 0: completed" in page


def test_the_numbers_are_those_of_eval(run, subject, capsys):
    for split in ("test", "train"):
        _, out, _ = call(capsys, "eval", f"--workdir={run}", f"--split={split}", "--json")
        found = subject.result if split == "test" else Subject(run, split="train").result
        expected = json.loads(out)
        assert found["loss"] == pytest.approx(expected.pop("loss"), rel=1e-5)
        of_classes = {key: expected.pop(key) for key in ("balanced_accuracy", "by_class")}
        assert {key: found[key] for key in expected} == expected
        wrong = sum(one["errors"] for one in of_classes["by_class"])
        assert wrong == round(expected["top1_error"] * expected["examples"])
        assert 0 < found["top1_error"] < 0.9


def test_the_confusion_matrix_holds_every_example_once(subject):
    answers = subject.answers
    counts = errors.confusion(answers.labels, answers.answers, 10)
    assert counts.sum() - np.trace(counts) == round(subject.result["top1_error"] * 110)
    assert counts.sum(1).tolist() == np.bincount(answers.labels, minlength=10).tolist()
    assert errors.confusion(np.array([0, 2, 2]), np.array([0, 1, 1]), 3).tolist() == [
        [1, 0, 0],
        [0, 0, 0],
        [0, 2, 0],
    ]


def test_reject_curve_by_hand():
    # Most doubtful first: 0.9 wrong, 0.8 right, 0.5 wrong and right together, 0.1 right.
    doubt = np.array([0.1, 0.5, 0.9, 0.5, 0.8])
    wrong = np.array([False, True, True, False, False])
    rejected, error = errors.reject_curve(doubt, wrong)
    assert rejected == pytest.approx([0, 1 / 5, 2 / 5, 4 / 5])
    assert error == pytest.approx([2 / 5, 1 / 4, 1 / 3, 0])
    assert errors.share_for(rejected, error, 0.3) == pytest.approx(1 / 5)
    assert errors.share_for(rejected, error, 0.0) == pytest.approx(4 / 5)
    assert errors.share_for(rejected, error, -0.1) is None


def test_reject_curve_starts_at_the_error(subject):
    rejected, error = errors.reject_curve(subject.answers.doubt, subject.answers.wrong)
    assert (rejected[0], error[0]) == (0, subject.result["top1_error"])
    top = -np.sort(-subject.answers.probabilities, axis=1)
    assert subject.answers.doubt == pytest.approx(1 - (top[:, 0] - top[:, 1]), abs=1e-12)


def test_sure_answers_still_differ():
    doubt = judge(np.array([[0.0, -90], [0, -91], [0, -600]], np.float32), np.zeros(3, int)).doubt
    assert doubt == pytest.approx(2 * np.exp([-90.0, -91, -600]))
    assert judge(np.zeros((2, 1), np.float32), np.zeros(2, int)).doubt.tolist() == [0, 0]


def test_ties_are_judged_as_in_evaluation(rng):
    scores = rng.integers(0, 4, (200, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 200).astype(np.int32)
    answers = judge(scores, labels)
    seen = jax.jit(state.Seen.of)(jnp.zeros(200), jnp.asarray(scores), jnp.asarray(labels))
    assert answers.wrong.sum() == int(seen.errors) > (scores.argmax(1) != labels).sum()
    best = scores[np.arange(200), answers.answers]
    assert (best == scores.max(1)).all()  # In a tie, the prediction is one of the tied classes.
    assert answers.probabilities == pytest.approx(np.asarray(jax.nn.softmax(scores)), abs=1e-6)
    scores[3, 1] = np.nan
    with pytest.raises(DataError, match="finite"):
        judge(scores, labels)


def test_surest_errors():
    scores = np.log([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    assert errors.surest_errors(judge(scores, np.array([1, 1, 0, 1])), 2) == [0, 2]


def untrained(rng, **options):
    model = create_model(**options)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *model.input_shape)))
    return model, jax.tree.map(
        lambda leaf: (0.05 * rng.normal(size=leaf.shape)).astype(np.float32), shapes["params"]
    )


def test_kernels_of_every_network(rng):
    model, params = untrained(rng, name="alexnet", num_classes=3, image_size=64, dense_width=8)
    towers = kernels.first_kernels(model, params, "conv1")
    assert [tower.shape for tower in towers] == [(48, 11, 11, 3), (48, 11, 11, 3)]
    assert np.array_equal(towers[1][5], params["conv1"]["kernel"][1, ..., 5])
    colours = kernels.as_colours(towers[0])
    assert np.abs(2 * colours - 1).max((1, 2, 3)) == pytest.approx(1)
    assert kernels.colour_share(towers[0]) == pytest.approx(2 / 3, abs=0.02)
    assert kernels.colour_share(np.ones((2, 4, 4, 3))) == 0
    for name in ("lenet5", "lenet5_1998"):
        model, params = untrained(rng, name=name)
        (found,) = kernels.first_kernels(model, params, "C1")
        assert found.shape == (6, 5, 5, 1)
    with pytest.raises(DataError, match="F6"):
        kernels.first_kernels(model, params, "F6")


def test_mosaic_and_maps():
    tiles = np.arange(1, 4)[:, None, None] * np.ones((3, 2, 2))
    expected = [[1, 1, 0, 2, 2], [1, 1, 0, 2, 2], [0] * 5, [3, 3, 0, 0, 0], [3, 3, 0, 0, 0]]
    assert mosaic(tiles, 2, fill=0).tolist() == expected
    assert maps.chosen(96, 2) == [*range(16), *range(48, 64)]
    assert maps.chosen(16, 1) == range(16)


def test_maps_are_those_of_the_network(subject):
    assert subject.layers == ["C1", "S2", "C3", "S4", "C5", "F6", "output"]
    assert subject.hidden == "F6"
    found = subject.features(subject.data, [4, 7, 9], ["C1", "S2", "output"], "maps")
    assert found["C1"].shape == (3, 28, 28, 6)
    pooled = found["C1"].reshape(3, 14, 2, 14, 2, 6).mean((2, 4))
    assert found["S2"] == pytest.approx(pooled, abs=1e-5)
    assert found["output"] == pytest.approx(subject.answers.scores[[4, 7, 9]], abs=1e-4)


def test_nearest_and_first_of_each_class(rng):
    queries, others = rng.normal(size=(3, 4)), rng.normal(size=(9, 4))
    found = neighbours.nearest(queries, others, 2)
    for query, near in zip(queries, found, strict=True):
        distances = [np.linalg.norm(other - query) for other in others]
        assert near.tolist() == sorted(range(9), key=distances.__getitem__)[:2]
    assert neighbours.nearest(queries, others[:1], 6).tolist() == [[0]] * 3
    assert first_of_each_class(np.array([2, 2, 0, 1, 0]), 2) == [0, 2]


def write_run(folder, config, classes, rng):
    """A run that was stopped before its first step."""
    config.eval.batch_size = 3
    _, params = untrained(rng, **config.model)
    RunDirectory(folder, config).begin(classes)
    nothing = state.TrainState(
        step=np.int32(0),
        params=params,
        batch_stats={},
        average=None,
        opt_state=(),
        metrics=state.Metrics.zero(),
    )
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(0, nothing, None, wait=True)


@pytest.mark.slow
def test_the_net_of_1998_and_no_metrics(tmp_path, rng, capsys):
    config = make_tiny_1998_config()
    config.data.test = "test[:20]"
    write_run(tmp_path, config, tuple("0123456789"), rng)
    code, _, err = call(capsys, "report", f"--workdir={tmp_path}")
    assert code == 0, err
    assert "learning curves: not drawn" in err
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == len(SECTIONS) - 1
    assert page.count("Not drawn: ") == 1
    assert "2 epochs, seed 0: has not ended" in page
    found = Subject(tmp_path)
    shown = found.features(found.data, [0], ["C3", "C5"], "maps")
    assert shown["C3"].shape == (1, 10, 10, 16)
    assert shown["C5"].shape == (1, 1, 1, 120)
    _, out, _ = call(capsys, "eval", f"--workdir={tmp_path}", "--json")
    assert found.result["top1_error"] == json.loads(out)["top1_error"]


@pytest.mark.slow
def test_photos_from_disk(colour_photos, tmp_path, rng, capsys):
    config = make_photo_config(
        colour_photos, **{"data.stream": True, "model.widths": (16, 8, 8, 8, 8)}
    )
    write_run(tmp_path, config, ("blue", "green", "red"), rng)
    assert call(capsys, "report", f"--workdir={tmp_path}", "--checkpoint=last")[0] == 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == len(SECTIONS) - 1
    assert "errors on 12 validation images" in page
    assert "8 kernels in each of 2 towers" in page
    assert "36 training images by Euclidean distance in fc7 (64 units)" in page


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MEASURE = """<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(e =>
    e.getBoundingClientRect().right > innerWidth && !e.closest(".table, pre"));
  const clipped = [...document.querySelectorAll(".table:not(.facts) th")]
    .some(e => e.offsetHeight > 60);
  const root = document.documentElement, over = root.scrollWidth - root.clientWidth;
  parent.document.body.dataset.measured = [innerWidth, over, wide.length, clipped].join();
});
</script>"""


@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_is_no_wider_than_a_screen(tmp_path, width):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium to measure the page with")
    figure = tmp_path / "wide.png"
    Image.new("RGB", (1400, 300), "navy").save(figure)
    word = "a_folder_whose_name_has_no_place_to_break/" * 5
    table = [["class", *(f"number {i}" for i in range(20))]] * 3
    sections = [
        page.Section("curves", "Learning curves", [f"Read from {word}."], figure, table),
        page.Section("maps", "Feature maps", [f"Not drawn: no data in '{word}'."]),
    ]
    text = page.as_html(word, f"In {word}.", [("folder", word)], sections, "x" * 500)
    text = text.replace("<details>", "<details open>").replace("</body>", MEASURE + "</body>")
    # In a frame, as a window of Chromium has at least 500 pixels.
    frame = f'<iframe style="width: {width}px; border: 0" srcdoc="{html.escape(text)}"></iframe>'
    (tmp_path / "page.html").write_text(frame)
    found = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            f"file://{tmp_path / 'page.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    (measured,) = re.findall('data-measured="(.*?)"', found)
    assert measured == f"{width},0,0,false"


def test_mistakes_are_one_line(run, tmp_path, capsys, monkeypatch):
    for arguments, code, text in (
        ([], 2, "--workdir is missing"),
        ([f"--workdir={tmp_path}"], 2, "no run directory"),
        ([f"--workdir={run}", "--split=validation"], 2, "known: train, test"),
        ([f"--workdir={run}", "extra"], 2, "not expected"),
    ):
        found, _, err = call(capsys, "report", *arguments)
        assert (found, err.count("\n")) == (code, 1)
        assert text in err
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints", "report*"))
    assert "no checkpoints yet" in call(capsys, "report", f"--workdir={copy}")[2]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = call(capsys, "report", f"--workdir={run}")
    assert code == 2
    assert "lenet-alexnet[plots]" in err
