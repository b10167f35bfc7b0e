"""Trained networks in files: those of the package, their cards, and the commands that use them."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from lenet_alexnet import load, train, trained_networks
from lenet_alexnet.cli import main
from lenet_alexnet.data.sources import embedded
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.inference import bundled
from lenet_alexnet.inference.card import count_errors
from lenet_alexnet.inference.evaluate import evaluate_workdirs
from lenet_alexnet.inference.model_file import open_file, read_card
from lenet_alexnet.weights import files, ours
from tests.helpers import ROOT
from tests.helpers.tiny_configs import make_tiny_config

NAMES = (
    "lenet5_1998",
    "lenet5_1998_distorted",
    "lenet5_mnist",
    "lenet5_mnist_distorted",
    "lenet5_quickstart",
)


@pytest.fixture(scope="module")
def digit(tmp_path_factory):
    """An image file of a 7 or what else comes first, and its class."""
    digits = embedded.read("test")
    path = tmp_path_factory.mktemp("digit") / "digit.png"
    Image.fromarray(digits.images[0, ..., 0]).save(path)
    return str(path), digits.class_names[digits.labels[0]]


def test_the_package_has_the_networks_of_its_recipes():
    assert trained_networks() == sorted(NAMES)
    assert sum(bundled.find(name).stat().st_size for name in NAMES) < 1_500_000


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_the_package_answers_as_its_card_says(name):
    run = open_file(bundled.find(name))
    assert count_errors(run, embedded.read("test")) == run.card["embedded"]
    by_class = run.card["test"]["by_class"].values()
    assert sum(c["examples"] for c in by_class) == run.card["test"]["examples"]
    wrong = sum(c["errors"] for c in by_class)
    assert wrong / run.card["test"]["examples"] == run.card["test"]["top1_error"]


@pytest.mark.parametrize("name", NAMES)
def test_a_card_names_a_config_a_clean_commit_and_no_place(name):
    card = read_card(bundled.find(name))
    assert card["config_file"] == name
    assert (ROOT / "configs" / f"{name}.py").is_file()
    assert len(card["git_commit"]) == 40
    assert card["git_dirty"] is False
    assert card["config"]["data"]["data_dir"] == ""
    assert card["seed"] == card["config"]["seed"] == 0
    assert "/" not in json.dumps(card)  # no path of the machine that trained it
    assert card["params"] in (60_000, 61_706)


def test_the_pages_errors_are_the_cards():
    rows = re.findall(
        r"^\| `(\w+)` \| .* \| ([\d.]+) % of ([\d,]+) \|$",
        (ROOT / "docs" / "trained.md").read_text(),
        re.MULTILINE,
    )
    assert sorted(name for name, *_ in rows) == sorted(NAMES)
    for name, error, examples in rows:
        test = read_card(bundled.find(name))["test"]
        assert (error, examples) == (f"{100 * test['top1_error']:.2f}", f"{test['examples']:,}")


def test_eval_counts_the_same_errors(capsys):
    card = read_card(bundled.find("lenet5_quickstart"))
    assert main(["x", "eval", "--model=lenet5_quickstart", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["split"], found["step"]) == ("test", card["step"])
    assert found["top1_error"] == card["test"]["top1_error"]
    assert found["examples"] == card["test"]["examples"]
    several = [bundled.find(name) for name in ("lenet5_quickstart", "lenet5_mnist")]
    assert evaluate_workdirs(several)["top1_error"] < found["top1_error"]


def test_predict_without_a_run(digit, capsys, tmp_path):
    file, answer = digit
    copy = shutil.copy(bundled.find("lenet5_mnist_distorted"), tmp_path / "mine.safetensors")
    for model in ("lenet5_mnist_distorted", "lenet5_1998", copy):
        assert main(["x", "predict", f"--model={model}", file, "--top=1", "--json"]) == 0
        (result,) = json.loads(capsys.readouterr().out)
        assert result["predictions"][0]["class"] == answer


def test_export_takes_a_name_and_keeps_the_card(tmp_path, capsys):
    to = tmp_path / "copy.safetensors"
    assert main(["x", "export", "lenet5_quickstart", f"--to={to}"]) == 0
    assert read_card(to) == read_card(bundled.find("lenet5_quickstart"))


@pytest.mark.slow
def test_a_runs_card_is_measured(tmp_path, capsys):
    config = make_tiny_config()
    summary = train(config, tmp_path / "run")
    to = tmp_path / "mine.safetensors"
    assert main(["x", "export", str(tmp_path / "run"), f"--to={to}"]) == 0
    card = read_card(to)
    assert card["test"]["top1_error"] == summary["eval"]["test"]["top1_error"]
    assert card["test"]["examples"] == sum(c["examples"] for c in card["test"]["by_class"].values())
    assert (card["step"], card["checkpoint"]) == (60, "last")
    assert card["config"] == config.to_dict()
    assert main(["x", "models", "show", str(to)]) == 0
    assert "class 9" in capsys.readouterr().out


def test_models_lists_and_shows(capsys):
    assert main(["x", "models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == sorted(NAMES)
    assert "61,706" in lines[-1]
    assert main(["x", "models", "list", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert main(["x", "models", "show", "lenet5_1998", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card == cards["lenet5_1998"]
    assert main(["x", "models", "show", "lenet5_1998"]) == 0
    text = capsys.readouterr().out
    assert card["git_commit"] in text
    assert f"{100 * card['test']['top1_error']:.2f} % of 10,000" in text


WRONG = [
    (["predict", "--model=lenet5_minst", "x.png"], "did you mean 'lenet5_mnist'"),
    (["predict", "--model=lenet5_mnist"], "no images"),
    (["predict", "--model=", "x.png"], "--model is empty"),
    (["predict", "--model=lenet5_mnist", "--workdir=w", "x.png"], "give one of them"),
    (["predict", "x.png"], "--workdir is missing"),
    (["predict", "--model=lenet5_mnist", "--checkpoint=best", "x.png"], "holds one network"),
    (["predict", "--model=none.safetensors", "x.png"], "no file 'none.safetensors'"),
    (["eval", "--model=.", "--split=test"], "--workdir=."),
    (["eval", "--model=lenet5_mnist", "--split=validation"], "no split 'validation'"),
    (["models", "lst"], "did you mean 'list'"),
    (["models", "show"], "takes one name"),
    (["models", "show", "lenet4"], "known: lenet5_1998, "),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_mistakes_are_one_line(arguments, words, capsys):
    assert main(["x", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_the_data_of_a_network_may_be_elsewhere(capsys, tmp_path):
    assert main(["x", "eval", "--model=lenet5_mnist", f"--data_dir={tmp_path}"]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_a_damaged_file_is_refused(tmp_path, capsys):
    path = tmp_path / "damaged.safetensors"
    content = bytearray(bundled.find("lenet5_mnist").read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="not as they were written"):
        load(path)
    path.write_bytes(content[:-1000])
    assert main(["x", "models", "show", str(path)]) == 1
    assert "truncated" in capsys.readouterr().err


def test_a_file_of_weights_alone_names_the_way_out(tmp_path, capsys):
    from safetensors.numpy import save_file

    path = tmp_path / "alone.safetensors"
    save_file({"params/C1/bias": np.zeros(6, np.float32)}, path)
    assert main(["x", "predict", f"--model={path}", "x.png"]) == 1
    assert "convert" in capsys.readouterr().err
    (tmp_path / "weights.pth").write_bytes(b"x")
    with pytest.raises(UsageError, match="convert"):
        load(str(tmp_path / "weights.pth"))


@pytest.mark.parametrize("card", [[], {"step": "5"}])
def test_a_damaged_card_is_refused(tmp_path, card):
    file = files.read(bundled.find("lenet5_quickstart"))
    metadata = ours.metadata(file) | {"card": card}
    arrays = open_file(bundled.find("lenet5_quickstart")).variables
    ours.write(tmp_path / "x.safetensors", arrays, metadata)
    with pytest.raises(DataError, match="card is damaged"):
        open_file(tmp_path / "x.safetensors")
