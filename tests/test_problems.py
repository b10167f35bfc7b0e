"""All mistakes in a config are reported at once; a single one keeps its own line."""

import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.cli import main
from lenet_alexnet.config.checks import check_entries, check_ranges
from lenet_alexnet.errors import DataError, Problems, UsageError, UsageErrors
from lenet_alexnet.training.experiment import build


def reported(capsys, *overrides):
    """The lines of `train` with these overrides, which ends with exit code 2."""
    flags = [f"--config.{override}" for override in overrides]
    command = ["train", "--config=lenet5_quickstart", "--workdir=w"]
    assert main(["lenet-alexnet", *command, *flags]) == 2
    return capsys.readouterr().err.splitlines()


def test_all_mistakes_on_the_command_line_are_reported_at_once(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, *lines = reported(
        capsys,
        "optimizer.nam=sgd",
        "train.batch_size=big",
        "seed=-1",
        "model.activation=rely",
        "train.duration=abc",
        "optimizer.schedule.name=cosin",
    )
    assert first == "error: 6 problems"
    expected = (
        "unknown config key 'optimizer.nam': did you mean 'optimizer.name'?",
        "flag --config.train.batch_size=big: invalid literal",
        "seed -1 is not at least 0",
        "unknown model.activation 'rely': did you mean 'relu'?",
        "'abc' is no duration: write a number and steps, epochs or examples",
        "unknown optimizer.schedule.name 'cosin': did you mean 'cosine'?",
    )
    for line, text in zip(lines, expected, strict=True):
        assert line.startswith(f"  {text}")
    assert not (tmp_path / "w").exists()


def test_a_single_mistake_is_one_line(capsys):
    assert reported(capsys, "seed=-1") == ["error: seed -1 is not at least 0"]
    (line,) = reported(capsys, "optimizer.nam=sgd")
    assert line == "error: unknown config key 'optimizer.nam': did you mean 'optimizer.name'?"


def test_an_option_of_another_network_fits_with_its_name(capsys):
    lines = reported(
        capsys, "model.dense_width=64", "model.name=alexnet", "seed=-1", "eval.views=x"
    )
    assert [line for line in lines if "dense_width" in line] == []


def test_what_does_not_fit_the_data_is_reported_with_the_rest(tiny_config):
    with tiny_config.unlocked():
        tiny_config.train.batch_size, tiny_config.model.num_classes = 301, 7
        tiny_config.optimizer.name = "sdg"
    with pytest.raises(UsageErrors) as found:
        build(tiny_config)
    assert found.value.lines == (
        "unknown optimizer.name 'sdg': did you mean 'sgd'?",
        "train.batch_size 301 is not within 1..300, the training set",
        "model.num_classes 7 is not the data's 10",
    )


def test_all_entries_of_a_config_file_are_checked():
    config = configs.load("lenet5_quickstart").get_config()
    with config.unlocked():
        config.data.sorce = "idx"
        del config.train.batch_size
        del config.eval.views  # A ConfigDict refuses another type in place of a number.
        config.eval.views = "one"
    with pytest.raises(UsageErrors) as found:
        check_entries(config, "x.py")
    assert [line.removeprefix("config file 'x.py'") for line in found.value.lines] == [
        ": eval.views = 'one' is no int",
        " has no entry 'train.batch_size'",
        ": its config has the unknown entry 'data.sorce': did you mean 'data.source'?",
    ]
    with pytest.raises(UsageErrors, match=r"data\.std 0\.0 .*\n  data\.photo"):
        check_ranges({"data.std": 0.0, "data.photo.std": -1.0})


def test_errors_that_follow_from_a_known_mistake_are_not_reported():
    problems = Problems()
    with pytest.raises(ZeroDivisionError), problems.noting():
        1 / 0  # noqa: B018
    for _ in range(2):
        with problems.noting():
            raise UsageError("a")
    with problems.noting():
        1 / 0  # noqa: B018
    with pytest.raises(UsageError, match=r"^a$"):
        problems.report()
    with pytest.raises(UsageError, match=r"^a$"), problems.noting():
        raise DataError("after a")
