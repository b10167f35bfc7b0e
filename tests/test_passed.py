"""Networks, data and callbacks that a program passes to `train` as objects."""

import json

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet import InMemory, load, train
from lenet_alexnet.cli import main
from lenet_alexnet.data.sources import embedded
from lenet_alexnet.errors import Interrupted, UsageError
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.training import loop, passed
from tests.helpers.runs import comparable, rows, stop_after
from tests.helpers.tiny_configs import make_photo_config, make_tiny_config


class Mine(nn.Module):
    """One hidden layer on 28x28 images, with dropout."""

    width: int = 8
    num_classes: int = 3
    input_shape = (32, 32, 1)

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(self.width, name="hidden")(x.reshape(len(x), -1)))
        drop = nn.Dropout(0.1, deterministic=not self.has_rng("dropout"), name="drop")
        return nn.Dense(self.num_classes, name="output")(drop(x))


def data():
    """Digits 0, 1 and 2 as objects."""
    digits = embedded.read("train")
    kept = digits.labels < 3
    images, labels = digits.images[kept], digits.labels[kept]
    names = ("zero", "one", "two")
    return {
        "train": InMemory(images[:300], labels[:300], names),
        "test": InMemory(images[300:400], labels[300:400], names),
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of objects, and the lines that its callback got."""
    workdir, seen = tmp_path_factory.mktemp("passed") / "run", []

    def note(row):
        jnp.ones(3) + len(seen)  # A callback may use JAX.
        seen.append(row)

    config = make_tiny_config()
    summary = train(config, workdir, model=Mine(), data=data(), callbacks=[note])
    return workdir, summary, seen


def test_a_run_of_objects_learns_and_its_callbacks_get_the_lines_of_the_log(finished):
    workdir, summary, seen = finished
    assert summary["eval"]["test"]["top1_error"] < 0.2
    assert seen == rows(workdir)
    config = read_json(workdir / "config.json")
    assert config["model"] == {"name": "passed object Mine", "num_classes": 3, "width": 8}
    assert config["data"]["source"] == "passed object InMemory"
    assert config["data"]["validation"] == ""


@pytest.mark.slow
def test_stopped_and_resumed_it_ends_in_the_same_bits(finished, tmp_path):
    config, objects = passed.take(make_tiny_config(), Mine(), data())
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, tmp_path, objects=objects, stop_requested=stop_after(4))
    train(make_tiny_config(), tmp_path, model=Mine(), data=data())
    assert comparable(tmp_path) == comparable(finished[0])


def test_it_resumes_with_equal_objects_only(finished, tmp_path):
    config, objects = passed.take(make_tiny_config(), Mine(), data())
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, tmp_path, objects=objects, stop_requested=stop_after(4))
    with pytest.raises(UsageError, match=r"model\.width: 8 -> 9"):
        train(make_tiny_config(), tmp_path, model=Mine(width=9), data=data())
    with pytest.raises(UsageError, match="another config"):
        train(make_tiny_config(), tmp_path)
    digits = data()["train"]
    other = InMemory(255 - digits.images, digits.labels, digits.class_names)
    with pytest.raises(UsageError, match="other data"):
        train(make_tiny_config(), tmp_path, model=Mine(), data=data() | {"train": other})


def test_the_run_is_opened_with_its_model(finished, capsys):
    workdir = finished[0]
    with pytest.raises(UsageError, match=r"passed object Mine.*load\(\.\.\., model="):
        load(workdir)
    with pytest.raises(UsageError, match=r"another model \(width: 8 -> 9\)"):
        load(workdir, model=Mine(width=9))
    net = load(workdir, model=Mine())
    digits = data()["test"]
    wrong = (net(digits.images).argmax(1) != digits.labels).mean()
    assert wrong == pytest.approx(finished[1]["eval"]["test"]["top1_error"])
    assert net.features(digits.images[:2])["hidden"].shape == (2, 8)
    assert main(["x", "eval", f"--workdir={workdir}"]) == 2
    assert "passed object Mine" in capsys.readouterr().err


@pytest.mark.slow
def test_without_objects_a_run_has_the_same_bits_and_its_data_may_be_passed_alone(tmp_path):
    config = make_tiny_config()
    loop.train_and_evaluate(config, tmp_path / "a")
    train(config, tmp_path / "b")
    assert comparable(tmp_path / "a") == comparable(tmp_path / "b")
    splits = {"train": "train[:300]", "test": "test[:110]"}
    digits = {
        name: InMemory(
            *(array[: int(text[:-1].split(":")[1])] for array in embedded.read(name).arrays),
            embedded.DIGITS,
        )
        for name, text in splits.items()
    }
    train(config, tmp_path / "c", data=digits)
    assert comparable(tmp_path / "c") == comparable(tmp_path / "a")


def bad_data(**changes):
    return {key: value for key, value in (data() | changes).items() if value is not None}


TALL = InMemory(np.zeros((4, 28, 27, 1), np.uint8), np.zeros(4, np.int32), ("a", "b", "c"))
SMALL = InMemory(np.zeros((4, 9, 9, 1), np.uint8), np.zeros(4, np.int32), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ({"model": Mine}, "not an instance of a linen module"),
        ({"model": nn.Dense(3)}, "Dense has no attribute input_shape"),
        ({"model": Mine(num_classes=4), "data": data()}, "num_classes 4 is not the data's 3"),
        ({"data": bad_data(train=None)}, "no split 'train'"),
        ({"data": bad_data(tset=SMALL)}, "unknown split 'tset': did you mean 'test'"),
        ({"data": bad_data(test=[1, 2])}, "data 'test' is a list, not a Dataset"),
        ({"data": bad_data(test=SMALL)}, "another shape"),
        ({"data": {"train": TALL}}, "28x27x1, not squares"),
    ],
)
def test_objects_that_do_not_fit_are_one_line(objects, words, tmp_path):
    with pytest.raises(UsageError, match=words) as error:
        train(make_tiny_config(), tmp_path / "run", **objects)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "config.json").exists()


def test_photos_as_objects_need_a_mean_of_their_own(tmp_path):
    photos = np.zeros((12, 72, 72, 3), np.uint8)
    given = {"train": InMemory(photos, np.arange(12, dtype=np.int32) % 3, ("a", "b", "c"))}
    with pytest.raises(UsageError, match=r"data\.photo\.mean=given"):
        train(make_photo_config(tmp_path), tmp_path / "run", data=given)


def test_precision_is_the_models_own(tmp_path):
    config = make_tiny_config()
    with config.unlocked():
        config.train.precision = "bfloat16"
    with pytest.raises(UsageError, match="its own dtype"):
        train(config, tmp_path / "run", model=Mine(), data=data())


def test_a_callback_that_fails_ends_the_run(tmp_path):
    def fail(row):
        raise KeyError(row["split"])

    with pytest.raises(KeyError):
        train(make_tiny_config(), tmp_path, callbacks=[fail])
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "failed"
