"""Files for other programs: each is opened by another program and gives our outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.exchange import export as exporting
from lenet_alexnet.exchange.export import export
from lenet_alexnet.inference.open_run import open_run
from lenet_alexnet.models import create_model
from lenet_alexnet.models.alexnet.variants import VARIANTS
from lenet_alexnet.training.scoring import make_scores
from tests.helpers import weight_files

SIDE = weight_files.SIDE
DIGITS = ("lenet5", "lenet5_1998", "lenet1", "mlp_1998")


def alexnet_run(folder, variant="owt", **options):
    _, variables = weight_files.network(variant, **options)
    section = {"name": "alexnet", "variant": variant, **weight_files.SMALL, **options}
    photo = {
        "crop": SIDE,
        "mean": "given",
        "colour_mean": (120.0, 110.0, 100.0),
        "colour_std": (58.0, 57.0, 56.0),
        "colour_noise": 0.0,
    }
    return weight_files.save_run(folder, variables, section, image_size=140, photo=photo)


def digits_run(folder, name):
    model = create_model(name=name)
    image = np.zeros((1, *model.input_shape), np.float32)
    pad = (model.input_shape[0] - 28) // 2
    variables = jax.jit(model.init)(jax.random.key(0), image)
    return weight_files.save_run(folder, variables, {"name": name}, digits=True, pad=pad)


def outputs(folder, images):
    run = open_run(folder)
    plain = {"conv_form": "plain"} if hasattr(run.model, "conv_form") else {}
    scores = make_scores(run.model.clone(**plain), run.preprocess)
    return np.asarray(jax.jit(scores)(run.variables, images))


def images_of(folder, count, rng):
    data = open_run(folder).config.data
    return rng.integers(0, 256, (count, data.image_size, data.image_size, data.channels), np.uint8)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


OFTEN = ("paper", "owt", "lenet5_1998")
REST = [name for name in (*VARIANTS, *DIGITS) if name not in OFTEN]


@pytest.mark.parametrize(
    "name", [*OFTEN, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]
)
def test_onnx(name, tmp_path, rng):
    onnxruntime = pytest.importorskip("onnxruntime")
    make = digits_run if name in DIGITS else alexnet_run
    folder, path = make(tmp_path / "run", name), tmp_path / "a.onnx"
    lines = export(folder, "onnx", str(path), with_preprocessing=True)
    assert lines[-1].endswith("by onnxruntime")
    images = images_of(folder, 5, rng)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    close(session.run(None, {"images": images})[0], outputs(folder, images))


@pytest.mark.parametrize("options", [{"conv6": True}, {"pool": "2/2"}, {"dropout_form": "mask"}])
def test_onnx_of_other_switches(options, tmp_path):
    pytest.importorskip("onnxruntime")
    export(alexnet_run(tmp_path / "run", "owt", **options), "onnx", str(tmp_path / "a.onnx"))


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("name", ["paper", "lenet5_1998"])
def test_stablehlo(name, prepared, tmp_path, rng):
    pytest.importorskip("flatbuffers")
    make = digits_run if name in DIGITS else alexnet_run
    folder, path = make(tmp_path / "run", name), tmp_path / "a.stablehlo"
    export(folder, "stablehlo", str(path), with_preprocessing=prepared)
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    assert {"cpu", "cuda", "tpu"} <= set(program.platforms)
    images = images_of(folder, 5, rng)
    given = images if prepared else np.asarray(open_run(folder).preprocess(jnp.asarray(images)))
    close(np.asarray(program.call(given)), outputs(folder, images))


def test_the_torch_file_opens_in_torch(tmp_path, rng):
    torch = pytest.importorskip("torch")
    folder, path = alexnet_run(tmp_path / "run"), tmp_path / "a.pth"
    assert export(folder, "torch", str(path))[-1].endswith("by torch")
    state = torch.load(path, weights_only=True)
    network = torchvisions(torch, (4, 8, 6, 8, 6), 10, 5)
    network.load_state_dict(state)
    images = images_of(folder, 2, rng)
    inputs = np.asarray(open_run(folder).preprocess(jnp.asarray(images))).transpose(0, 3, 1, 2)
    with torch.no_grad():
        found = network(torch.from_numpy(inputs.copy())).numpy()
    close(found, outputs(folder, images))


def torchvisions(torch, widths, dense, classes, side=3):
    """Torchvision's AlexNet, written again (torchvision/models/alexnet.py)."""
    nn, (a, b, c, d, e) = torch.nn, widths

    class AlexNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
                nn.Conv2d(a, b, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
                nn.Conv2d(b, c, 3, padding=1), nn.ReLU(),
                nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
                nn.Conv2d(d, e, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
            )  # fmt: skip
            self.classifier = nn.Sequential(
                nn.Dropout(), nn.Linear(e * side * side, dense), nn.ReLU(),
                nn.Dropout(), nn.Linear(dense, dense), nn.ReLU(), nn.Linear(dense, classes),
            )  # fmt: skip

        def forward(self, x):
            return self.classifier(torch.flatten(self.features(x), 1))

    return AlexNet().eval()


@pytest.mark.slow
def test_torchvisions_network_at_its_size_gives_our_outputs(tmp_path, rng):
    """A state dict of 244 MB, 16 photos of 256 pixels, ImageNet's normalisation."""
    torch = pytest.importorskip("torch")
    from lenet_alexnet.exchange.convert import convert

    torch.manual_seed(0)
    network = torchvisions(torch, (64, 192, 384, 256, 256), 4096, 1000, side=6)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    convert(str(tmp_path / "a.pth"), str(tmp_path / "run"))
    images = images_of(tmp_path / "run", 16, rng)
    cut = torch.from_numpy(images[:, 16:240, 16:240].copy()).permute(0, 3, 1, 2).float() / 255
    numbers = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in numbers)
    with torch.no_grad():
        expected = network((cut - mean) / std).numpy()
    close(outputs(tmp_path / "run", images), expected)


def test_outputs_that_differ_are_no_export(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "BOUND", -1.0)
    folder = digits_run(tmp_path / "run", "lenet5")
    with pytest.raises(DataError, match="not written: the outputs of our reader differ"):
        export(folder, "safetensors", str(tmp_path / "a.safetensors"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_command_names_the_file_after_the_run(tmp_path, monkeypatch, capsys):
    digits_run(tmp_path / "mine", "lenet5")
    monkeypatch.chdir(tmp_path)
    assert main(["lenet-alexnet", "export", "mine"]) == 0
    assert "largest difference" in capsys.readouterr().out
    assert (tmp_path / "mine.safetensors").is_file()


@pytest.mark.parametrize(
    ("form", "options", "fragment"),
    [
        ("onyx", {}, "did you mean 'onnx'"),
        ("torch", {"with_preprocessing": True}, "holds weights only"),
        ("torch", {}, "only AlexNet has"),
        ("caffe-npy", {}, "only AlexNet has"),
        ("onnx", {"to": "."}, "is a folder"),
    ],
)
def test_mistakes(form, options, fragment, tmp_path, monkeypatch):
    folder = digits_run(tmp_path / "run", "lenet5")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=fragment):
        export(folder, form, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    folder = digits_run(tmp_path / "run", "lenet5")
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs onnx: pip install 'lenet-alexnet\[onnx\]'"):
        export(folder, "onnx", str(tmp_path / "a.onnx"))


@pytest.mark.slow
def test_a_network_that_onnx_has_no_layers_for(tmp_path):
    pytest.importorskip("onnxruntime")
    model = create_model(name="cuda_convnet")
    image = np.zeros((1, *model.input_shape), np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), image)
    photo = {"crop": 32, "mean": "none", "colour_noise": 0.0}
    folder = weight_files.save_run(
        tmp_path / "run", variables, {"name": "cuda_convnet"}, image_size=32, photo=photo
    )
    with pytest.raises(UsageError, match="--format=stablehlo has all"):
        export(folder, "onnx", str(tmp_path / "a.onnx"))
