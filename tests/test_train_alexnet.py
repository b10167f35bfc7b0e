"""A narrow AlexNet end to end, on photos that the tests make: prepare, train, stop, evaluate."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from lenet_alexnet.cli import main
from lenet_alexnet.data.preprocess import statistics
from lenet_alexnet.data.sources import prepared
from lenet_alexnet.errors import DataError, Interrupted, UsageError
from lenet_alexnet.inference.evaluate import evaluate_workdirs
from lenet_alexnet.training import loop
from tests.helpers.photo_files import COLOURS
from tests.helpers.runs import rows, stop_after
from tests.helpers.tiny_configs import make_photo_config

LONGER = {"train.duration": "60 steps"}


@pytest.fixture(scope="module")
def finished(colour_photos, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "w"
    return workdir, loop.train_and_evaluate(make_photo_config(colour_photos, **LONGER), workdir)


def losses(workdir):
    return [(row["step"], row["split"], row["loss"]) for row in rows(workdir)]


def test_it_learns_three_colours(finished):
    _, summary = finished
    assert summary["eval"]["validation"]["top1_error"] <= 0.25
    assert summary["best"]["selected_on"] == "validation"


@pytest.mark.slow
def test_streamed_from_disk_it_is_the_same_run_stopped_or_not(colour_photos, finished, tmp_path):
    config = make_photo_config(colour_photos, **LONGER, **{"data.stream": True})
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, tmp_path, stop_requested=stop_after(5))
    loop.train_and_evaluate(config, tmp_path)
    resident, streamed = losses(finished[0]), losses(tmp_path)
    assert [row[:2] for row in resident] == [row[:2] for row in streamed]
    np.testing.assert_allclose(
        [row[2] for row in resident], [row[2] for row in streamed], rtol=1e-4, atol=1e-5
    )
    trained = [row for row in rows(tmp_path) if row["split"] == "train"]
    assert all(0 <= row["data_wait"] <= 1 for row in trained)


@pytest.mark.slow
def test_ten_views_several_runs_and_predict(finished, colour_photos, tmp_path, capsys):
    workdir, _ = finished
    one = evaluate_workdirs([workdir])
    ten = evaluate_workdirs([workdir], views=10)
    assert one["split"] == ten["split"] == "validation"
    assert one["loss"] != ten["loss"]
    twice = evaluate_workdirs([workdir, workdir], views=10)
    np.testing.assert_allclose(twice["loss"], ten["loss"], rtol=1e-5)
    picture = tmp_path / "red.jpg"
    Image.new("RGB", (300, 200), COLOURS["red"]).save(picture)
    assert main(["", "predict", f"--workdir={workdir}", str(picture), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)[0]["predictions"]
    assert {p["class"] for p in found} == set(COLOURS)
    assert found[0]["class"] == "red"


@pytest.fixture
def moved(colour_photos, tmp_path, capsys):
    """A run whose data has moved, the new place, and what commands do with the run."""
    data, there = tmp_path / "data", tmp_path / "there"
    shutil.copytree(colour_photos, data)
    workdir = tmp_path / "run"
    loop.train_and_evaluate(make_photo_config(data, **{"train.duration": "4 steps"}), workdir)
    data.rename(there)
    picture = tmp_path / "red.png"
    Image.new("RGB", (80, 80), COLOURS["red"]).save(picture)

    capsys.readouterr()

    def call(command, *arguments):
        code = main(["", command, f"--workdir={workdir}", *arguments])
        return code, capsys.readouterr()

    return workdir, there, picture, call


@pytest.mark.slow
def test_a_run_is_used_without_its_data(moved):
    workdir, there, picture, call = moved
    found = statistics.load(workdir / statistics.FILE)
    wanted = statistics.load_statistics("mine", str(there))
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    code, said = call("predict", str(picture), "--json")
    assert code == 0
    assert {p["class"] for p in json.loads(said.out)[0]["predictions"]} == set(COLOURS)
    code, said = call("report")
    assert code == 0
    assert said.err.count("no prepared data set 'mine'") == 1
    page = (workdir / "report.html").read_text()
    assert {path.stem for path in (workdir / "report").glob("*.png")} == {"curves", "kernels"}
    assert page.count("<img") == 2
    assert page.count("Not drawn: no prepared data set") == 6
    for command in ("report", "eval"):  # A command that needs the images names what is missing.
        code, said = call(command, "--data_dir=/nowhere")
        assert (code, said.err.count("\n")) == (1, 1)
    ten = call("eval", "--views=10", f"--data_dir={there}", "--json")
    # The statistics are those of the run, not those next to the images.
    other = wanted._replace(mean_image=wanted.mean_image + 50)
    statistics.save(prepared.find("mine", str(there)), other)
    assert call("eval", "--views=10", f"--data_dir={there}", "--json") == ten
    assert ten[0] == 0


@pytest.mark.slow
def test_a_run_of_before_takes_the_statistics_from_its_data(moved):
    workdir, there, picture, call = moved
    with_it = call("eval", f"--data_dir={there}", "--json")
    (workdir / statistics.FILE).unlink()
    code, said = call("predict", str(picture))
    assert (code, said.err.count("\n")) == (1, 1)
    assert "no prepared data set 'mine'" in said.err
    assert call("eval", f"--data_dir={there}", "--json") == with_it
    there.rename(there.with_name("data"))
    assert call("predict", str(picture))[0] == 0


@pytest.mark.slow
def test_a_run_does_not_go_on_with_other_data(colour_photos, tmp_path):
    workdir = tmp_path / "run"
    config = make_photo_config(shutil.copytree(colour_photos, tmp_path / "data"))
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, workdir, stop_requested=stop_after(2))
    folder, before = (
        prepared.find("mine", config.data.data_dir),
        (workdir / "run.json").read_bytes(),
    )
    found = statistics.load(folder / statistics.FILE)
    statistics.save(folder, found._replace(mean_image=found.mean_image + 1))
    with pytest.raises(UsageError, match="holds a run on other photos"):
        loop.train_and_evaluate(config, workdir)
    statistics.save(folder, found)
    names = folder / "label.labels.txt"
    names.write_text(names.read_text().replace("green", "yellow"))
    shutil.rmtree(folder / ".decoded")
    with pytest.raises(UsageError, match="holds a run on other data"):
        loop.train_and_evaluate(config, workdir)
    assert (workdir / "run.json").read_bytes() == before
    (workdir / statistics.FILE).write_bytes(b"damaged")
    names.write_text(names.read_text().replace("yellow", "green"))
    with pytest.raises(DataError, match=r"statistics.npz': it is damaged"):
        loop.train_and_evaluate(config, workdir)


@pytest.mark.slow
def test_plateau_average_and_parts_go_on_after_a_stop(colour_photos, tmp_path):
    overrides = {"train.average": 0.9, "train.accumulate": 2}

    def config():
        config = make_photo_config(colour_photos, **overrides)
        with config.unlocked():
            # No evaluation improves by that much: the rate falls at the second and third.
            config.optimizer.plateau = {
                "patience": 1,
                "min_improvement": 2.0,
                "factor": 0.1,
                "drops": 3,
            }
        return config

    loop.train_and_evaluate(config(), tmp_path / "whole")
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config(), tmp_path / "cut", stop_requested=stop_after(7))
    loop.train_and_evaluate(config(), tmp_path / "cut")
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")
    base = {row["step"]: row["learning_rate"] for row in rows(tmp_path / "whole")}
    plain = make_photo_config(colour_photos)
    rate = 0.01 * (1 + np.cos(np.pi * np.array([4, 12, 20]) / 24)) / 2
    assert plain.optimizer.schedule.name == "cosine"
    np.testing.assert_allclose([base[4], base[12], base[20]], rate * [1, 1, 0.1], rtol=1e-3)


@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        ({"data.image_size": 80}, DataError, r"\(72, 72, 3\).*\(80, 80, 3\)"),
        ({"data.stream": True, "data.image_size": 80}, DataError, r"\(72, 72, 3\)"),
        ({"data.photo.crop": 73}, UsageError, "crop of 73 pixels does not fit"),
        ({"data.photo.crop": 72}, UsageError, "64x64x3"),
        ({"model.num_classes": 2}, UsageError, "2 is not the data's 3"),
        ({"eval.views": 3}, UsageError, "views 3"),
        ({"train.accumulate": 5}, UsageError, "take 10 or 15"),
        ({"data.photo.mean": "imge"}, UsageError, "image"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(colour_photos, tmp_path, overrides, error, words):
    with pytest.raises(error, match=words):
        loop.train_and_evaluate(make_photo_config(colour_photos, **overrides), tmp_path)


def test_a_checkpoint_of_other_classes_names_the_difference(finished, colour_photos):
    from lenet_alexnet.models import create_model
    from lenet_alexnet.runs.checkpoints import Checkpoints

    model = create_model(**make_photo_config(colour_photos, **{"model.num_classes": 4}).model)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))
    with (
        Checkpoints(finished[0] / "checkpoints", read_only=True) as checkpoints,
        pytest.raises(DataError, match="fc8"),
    ):
        checkpoints.restore_variables(60, shapes)
