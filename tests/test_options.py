"""Options that a config file leaves out: overridden, swept, swapped with the name, compared."""

import json

import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.cli import main, parsing
from lenet_alexnet.config import options
from lenet_alexnet.errors import UsageError
from lenet_alexnet.losses import LOSSES
from lenet_alexnet.models import MODELS, create_model
from lenet_alexnet.optimizers import MAKERS
from lenet_alexnet.runs.directory import RunDirectory
from lenet_alexnet.sweep.expand import expand
from tests.helpers import ROOT
from tests.helpers.tiny_configs import make_tiny_1998_config, make_tiny_config


def override(config, *overrides):
    from absl import flags

    argv = ["x", *(f"--config.{text}" for text in overrides)]
    parsing.parse(flags.FlagValues(), argv, config)
    return config


def trials_of(*overrides, base=None):
    class Module:
        sweep = staticmethod(lambda: list(overrides))

    return expand(Module, base or make_tiny_config(), "file.py")[0]


def test_every_option_has_a_default():
    for section, names in (("model", MODELS), ("optimizer", MAKERS), ("train.loss", LOSSES)):
        for name in names:
            found = options.defaults(section, {"name": name})
            assert all(value.__class__ is not type for value in found.values()), (section, name)
    create_model(name="alexnet", **options.defaults("model", {"name": "alexnet"}))


def test_an_option_that_the_file_leaves_out_is_overridden():
    config = override(make_tiny_config(), "optimizer.clip=2", "optimizer.schedule.power=3")
    assert (config.optimizer.clip, config.optimizer.schedule.power) == (2.0, 3.0)
    with pytest.raises(UsageError, match="could not convert"):
        override(make_tiny_config(), "optimizer.clip=much")
    config = override(make_tiny_config(), "optimizer.plateau.patience=5")
    assert config.optimizer.plateau.to_dict() == {
        "patience": 5,
        "min_improvement": 0.001,
        "factor": 0.1,
        "drops": 3,
    }


def test_an_option_without_a_type_takes_a_literal():
    for text, value in (("0.01", 0.01), ("none", None)):
        config = configs.load(f"{ROOT}/configs/cifar10_convnet.py").get_config()
        assert override(config, f"model.output_std={text}").model.output_std == value


def test_another_optimizer_swaps_the_options():
    config = override(make_tiny_config(), "optimizer.momentum=0.5", "optimizer.name=sgd")
    kept = config.optimizer.to_dict()
    kept.pop("schedule")
    # Entries that SGD also has stay as in the file; Adam's moments are gone.
    assert kept == {
        "name": "sgd",
        "learning_rate": 3e-3,
        "weight_decay": 0.01,
        "momentum": 0.5,
    }
    with pytest.raises(UsageError, match=r"'sgd' has no option 'b1' \(adam, adamw: yes\)"):
        override(make_tiny_config(), "optimizer.name=sgd", "optimizer.b1=0.5")
    with pytest.raises(UsageError, match="'adamw' has no option 'momentum'"):
        override(make_tiny_config(), "optimizer.momentum=0.5")


def test_another_network_and_loss_swap_the_options():
    config = override(make_tiny_config(), "train.loss.name=eq9", "train.loss.j=5")
    assert config.train.loss.to_dict() == {"name": "eq9", "j": 5.0}
    config = override(make_tiny_1998_config(), "model.name=lenet5", "optimizer.name=sgd")
    assert config.model.to_dict() == {"name": "lenet5"}
    assert "curvature" not in config.optimizer
    config = override(config, "optimizer.name=sdlm", "optimizer.curvature.examples=9")
    assert config.optimizer.curvature.to_dict() == {"every": "1 epoch", "examples": 9}


def test_options_are_swept_by_their_short_names_too():
    a, b, c = trials_of(
        {"optimizer.name": "sgd", "momentum": 0.9},
        {"optimizer.name": "adamw", "b1": 0.8},
        {"optimizer.clip": 1},
    )
    assert a.config.optimizer.momentum == 0.9
    assert "b1" not in a.config.optimizer
    assert (b.config.optimizer.b1, c.config.optimizer.clip) == (0.8, 1.0)
    for trial in (a, b, c):
        assert trial.id == configs.config_hash(trial.config)
        assert trial.flat == configs.flatten(trial.config)
    with pytest.raises(UsageError, match="'sgd' has no option 'b1'"):
        trials_of({"optimizer.name": "sgd", "optimizer.b1": 0.9})


def test_each_trial_has_the_switches_of_its_own_variant():
    base = configs.load(f"{ROOT}/configs/alexnet_imagenet.py").get_config()
    a, b = trials_of({"model.variant": "owt"}, {"model.lrn": "caffe"}, base=base)
    assert "lrn" not in a.config.model  # owt has none, nor from the other trial's key.
    assert b.config.model.lrn == "caffe"


def test_the_hashes_of_runs_begun_before_stay():
    """Of e9fb5cf: what a file lists, and a switch of the network for all trials of a sweep."""
    assert configs.config_hash(make_tiny_config()) == "8d39f881dc97"
    trials = trials_of({"learning_rate": 1}, {"model.conv_form": "auto", "seed": 1})
    assert [trial.id for trial in trials] == ["f7d7013253aa", "0f431b83a9c5"]


def test_what_is_left_at_its_default_is_no_difference(tmp_path):
    old = make_tiny_config().to_dict()
    del old["train"]["back_off"]  # as an earlier version wrote it
    (tmp_path / "config.json").write_text(json.dumps(old))
    RunDirectory(tmp_path, override(make_tiny_config(), "optimizer.clip=0"))
    with pytest.raises(UsageError, match=r"\(optimizer.clip: 0.0 -> 1.0\)"):
        RunDirectory(tmp_path, override(make_tiny_config(), "optimizer.clip=1"))
    changed = override(make_tiny_config(), "optimizer.name=sgd")
    (tmp_path / "config.json").write_text(json.dumps(changed.to_dict()))
    override(changed, "optimizer.nesterov=true")
    with pytest.raises(UsageError, match=r"\(optimizer.nesterov: False -> True\)"):
        RunDirectory(tmp_path, changed)


SWEEP = """
import itertools, runpy
import lenet_alexnet.sweep
def get_config(): return runpy.run_path({file!r})["get_config"]()
def sweep(): {body}
"""


@pytest.mark.attack(
    "one line",
    "sweep() yields NaN, arrays, other types, or trials without end",
    "one line, exit code 2, before anything starts",
)
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [{'model.num_classes': 5}]", "num_classes 5 is not the data's 10"),
        ("return [{'seed': 0}, {'data.train': 'trian'}]", "(data.train=trian)"),
        ("return [{'train.duration': 'long'}]", "is no duration"),
        ("return [{'optimizer.name': 'adamww'}]", "did you mean 'adamw'"),
        ("return [{'learning_rate': float('nan')}]", "nan is no finite number"),
        ("return [{'learning_rate': [3.0]}]", "not of type float"),
        ("return [{'data.train': '\\udcff'}]", "is no text"),
        ("return [{'seed': 2**40}]", "seed 1099511627776 is more than"),
        ("return [{'data.test': print}]", "not a number, string or list"),
        ("return [{1: 2}]", "the key 1, which is not a string"),
        ("return ({'seed': n} for n in itertools.count())", "more than 100,000 trials"),
        ("return itertools.repeat({'seed': 1})", "more than 100,000 trials"),
        ("return lenet_alexnet.sweep.seeds(10**9)", "seeds yields 1,000,000,000, more than"),
        ("return lenet_alexnet.sweep.grid(a=range(10**5), b=range(9))", "yields 900,000, more"),
        ("return 3", "returns no list"),
    ],
)
def test_a_dry_run_refuses_what_a_trial_would(tmp_path, capsys, body, message):
    file = tmp_path / "sweep.py"
    text = SWEEP.format(file=f"{ROOT}/configs/lenet5_quickstart.py", body="\n  " + body)
    file.write_text(text, errors="surrogatepass")
    command = ["x", "sweep", f"--config={file}", f"--workdir={tmp_path / 'w'}", "--dry-run"]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


def test_a_dry_run_of_thousands_builds_each_kind_once(tmp_path, monkeypatch):
    from lenet_alexnet.sweep import plan
    from lenet_alexnet.training import experiment

    built = []
    monkeypatch.setattr(experiment, "build", lambda config, read: built.append(config.train))
    rates = [rate / 1000 for rate in range(1, 501)]
    found = trials_of(*({"learning_rate": r, "train.batch_size": b} for r in rates for b in (5, 6)))
    plan.check(found)
    assert [part.batch_size for part in built] == [5, 6]
