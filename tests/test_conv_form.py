"""The form of convolutions with a stride on GPUs: measured, kept, and the same in a resumed run."""

import json

import jax
import portpicker
import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.bench.steps import Trainer, lenet5_config
from lenet_alexnet.errors import Interrupted, UsageError
from lenet_alexnet.inference.open_run import open_run
from lenet_alexnet.models import create_model
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.runtime import target
from lenet_alexnet.runtime.backend import DETERMINISTIC
from lenet_alexnet.training import conv_form
from lenet_alexnet.training.conv_form import Strided, choose, strided
from lenet_alexnet.training.loop import train_and_evaluate
from tests.helpers import processes
from tests.helpers.runs import stop_after
from tests.helpers.tiny_configs import make_photo_config

FOLDED, AUTO = {"auto": 2.0, "folded": 1.0}, {"auto": 1.0, "folded": 0.99}


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """As on a GPU with an empty cache. What is measured takes the last of `seconds`."""
    layers, seconds = [], [FOLDED]

    def measure(layer):
        layers.append(layer)
        return seconds[-1]

    monkeypatch.setattr(conv_form, "measure", measure)
    monkeypatch.setattr(conv_form.backend, "cache_folder", lambda name: tmp_path / "cache" / name)
    measure.layers, measure.seconds = layers, seconds
    with target.tracing_for("gpu"):
        yield measure


def alexnet(**overrides):
    config = configs.load("alexnet_imagenet").get_config()
    with config.unlocked():
        config.update_from_flattened_dict(overrides)
    return config


def kept(tmp_path):
    return list((tmp_path / "cache" / "conv_forms").iterdir())


def test_only_conv1_has_a_stride():
    conv1 = Strided(
        shape=(5, 224, 224, 3),
        kernels=(11, 11, 3, 96),
        stride=4,
        padding=((0, 3), (0, 3)),
        dtype="bfloat16",
    )
    model = create_model(name="alexnet", precision="bfloat16")
    assert strided(model, 5) == [conv1]
    assert [one.kernels[-1] for one in strided(create_model(name="alexnet", variant="owt"), 1)] == [
        64
    ]
    assert strided(create_model(name="lenet5"), 1) == []
    assert strided(create_model(name="cuda_convnet", variant="19pct"), 1) == []


def test_both_forms_are_timed():
    layer = Strided(
        shape=(2, 23, 23, 3),
        kernels=(11, 11, 3, 8),
        stride=4,
        padding=((2, 1), (2, 1)),
        dtype="float32",
    )
    seconds = conv_form.measure(layer)
    assert seconds.keys() == {"auto", "folded"}
    assert all(0 < one < 1 for one in seconds.values())


def test_the_faster_form_is_measured_once_for_a_shape(measured, tmp_path, capsys):
    config = alexnet(**{"train.batch_size": 32, "train.accumulate": 2})
    assert choose(config, {}, devices=4) == "folded"
    assert "0.50 of the time as 'folded'" in capsys.readouterr().err
    assert [layer.shape[0] for layer in measured.layers] == [4]  # of a device, at a time
    measured.seconds.append(AUTO)
    assert choose(config, {}, devices=4) == "folded"
    assert len(measured.layers) == 1
    for other in ({"train.precision": "bfloat16"}, {"train.matmul_precision": "highest"}):
        assert choose(alexnet(**{"train.batch_size": 8, **other}), {}, devices=2) == "auto"
    assert len(measured.layers) == len(kept(tmp_path)) == 3
    (record,) = [r for r in map(read_json, kept(tmp_path)) if r["seconds"] == FOLDED]
    assert record["device"] == jax.devices()[0].device_kind
    assert record["kernels"] == [11, 11, 3, 96]


BROKEN = ("", "[]", "{", '{"seconds": {"auto": 1}}', '{"seconds": {"auto": 1, "folded": NaN}}')


@pytest.mark.attack(
    "silent", "a broken file among the measured forms of convolutions", "it is measured again"
)
@pytest.mark.parametrize("content", [*BROKEN, "[" * 9999])
def test_a_broken_file_is_measured_again(measured, tmp_path, content):
    config = alexnet()
    choose(config, {}, devices=1)
    (path,) = kept(tmp_path)
    path.write_text(content)
    measured.seconds.append(AUTO)
    assert choose(config, {}, devices=1) == "auto"
    assert len(measured.layers) == 2
    assert read_json(path)["seconds"] == AUTO


def test_without_a_cache_it_is_measured_each_time(measured, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    assert [choose(alexnet(), {}, devices=1) for _ in range(2)] == ["folded"] * 2
    assert len(measured.layers) == 2


def test_what_is_not_measured(measured, monkeypatch):
    assert choose(lenet5_config(4), {}) == "auto"
    assert choose(alexnet(**{"model.conv_form": "plain"}), {}) == "auto"
    assert choose(alexnet(**{"model.image_size": 5}), {}) == "auto"  # `build` refuses it.
    with target.tracing_for("cpu"):
        assert choose(alexnet(), {}) == "auto"
    monkeypatch.setenv("XLA_FLAGS", DETERMINISTIC)
    assert choose(alexnet(), {}) == "auto"
    assert measured.layers == []


def test_the_form_of_a_begun_run(measured):
    assert choose(alexnet(), {"data": {}}) == "auto"
    assert choose(alexnet(), {"conv_form": "folded"}) == "folded"
    with pytest.raises(UsageError, match="unknown conv_form 'winograd'"):
        choose(alexnet(), {"conv_form": "winograd"})
    with target.tracing_for("cpu"):  # It chooses among other forms.
        assert choose(alexnet(), {"conv_form": "folded"}) == "auto"
    assert measured.layers == []


@pytest.mark.slow
def test_a_run_resumes_and_is_used_in_its_form(measured, colour_photos, tmp_path):
    config = make_photo_config(colour_photos)
    with pytest.raises(Interrupted):
        train_and_evaluate(config, tmp_path / "a", stop_requested=stop_after(3))
    assert read_json(tmp_path / "a" / "run.json")["conv_form"] == "folded"
    measured.seconds.append(AUTO)
    for path in kept(tmp_path):
        path.unlink()
    whole = train_and_evaluate(config, tmp_path / "a")
    assert len(measured.layers) == 1
    assert read_json(tmp_path / "a" / "run.json")["conv_form"] == "folded"
    same = make_photo_config(colour_photos, **{"model.conv_form": "folded"})
    assert whole["eval"] == train_and_evaluate(same, tmp_path / "b")["eval"]
    assert open_run(tmp_path / "a").model == open_run(tmp_path / "b").model
    with target.tracing_for("cpu"):
        assert open_run(tmp_path / "a").model.conv_form == "auto"
    assert train_and_evaluate(config, tmp_path / "c")["status"] == "completed"
    assert "conv_form" not in read_json(tmp_path / "c" / "run.json")


def test_bench_takes_the_faster_form(measured, colour_photos):
    config = make_photo_config(colour_photos)
    assert Trainer(config).e.model.conv_form == "folded"


PROCESS = """
import sys
from lenet_alexnet.runtime import processes
this = int(sys.argv[2])
processes.join(sys.argv[1], this, 2)
print([processes.from_first("x", lambda: [this, i]) for i in range(2)])
"""


@pytest.mark.slow
def test_all_processes_take_what_the_first_one_found():
    address = f"127.0.0.1:{portpicker.pick_unused_port()}"
    both = [processes.start(["-c", PROCESS, address, i], devices=1) for i in range(2)]
    assert [json.loads(processes.finish(one)) for one in both] == [[[0, 0], [0, 1]]] * 2
