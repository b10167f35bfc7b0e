"""Weights of others as runs: the network, its preprocessing, and nothing left after an error."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lenet_alexnet.cli import main
from lenet_alexnet.data.preprocess.statistics import Statistics
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.exchange.convert import convert
from lenet_alexnet.exchange.export import export
from lenet_alexnet.inference.open_run import open_run
from lenet_alexnet.models import create_model
from lenet_alexnet.weights import files, names, ours, torch_writer
from tests.helpers import weight_files

SIDE = weight_files.SIDE


def state_dict(path, **changes):
    """A .pth file of a small network, and its variables."""
    model, variables = weight_files.network("owt")
    torch_writer.write(path, names.from_variables(model, variables, "torchvision") | changes)
    return variables


def layers_of(model, variables):
    arrays = names.from_variables(model, variables, "caffe")
    return {name: [arrays[f"{name}.{i}"] for i in (0, 1)] for name in names.LAYERS}


def test_a_state_dict_becomes_a_run_with_torchvisions_preprocessing(tmp_path, rng, capsys):
    variables = state_dict(tmp_path / "a.pth")
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\neel\n")
    flags = [f"--to={tmp_path}/run", f"--image_size={SIDE}", f"--classes={tmp_path}/names.txt"]
    assert main(["lenet-alexnet", "convert", f"{tmp_path}/a.pth", *flags]) == 0
    assert "alexnet owt, 5 classes" in capsys.readouterr().out
    run = open_run(tmp_path / "run")
    assert run.class_names == ("ant", "bee", "cat", "dog", "eel")
    same = jax.tree.map(lambda a, b: np.array_equal(np.asarray(a), b), run.variables, variables)
    assert jax.tree.all(same)
    size = run.config.data.image_size
    assert size == round(SIDE * 8 / 7)
    images = rng.integers(0, 256, (2, size, size, 3), np.uint8)
    start = (size - SIDE) // 2
    cut = images[:, start : start + SIDE, start : start + SIDE] / 255
    expected = (cut - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]  # torchvision.transforms
    np.testing.assert_allclose(run.preprocess(jnp.asarray(images)), expected, rtol=0, atol=1e-5)
    Image.fromarray(images[0]).save(tmp_path / "photo.png")
    arguments = ["predict", f"--workdir={tmp_path}/run", f"{tmp_path}/photo.png"]
    assert main(["lenet-alexnet", *arguments]) == 0
    assert "ant" in capsys.readouterr().out
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["converted"]["format"] == "torch"
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {"a.pth", "names.txt", "photo.png", "run"}


@pytest.mark.parametrize("with_mean", [False, True])
def test_a_caffemodel_becomes_a_run_with_its_mean(with_mean, tmp_path, rng):
    model, variables = weight_files.network("caffenet")
    layers = layers_of(model, variables)
    order = [*names.LAYERS[:1], "pool1", "norm1", *names.LAYERS[1:]]
    content = weight_files.caffemodel({name: layers.get(name, []) for name in order})
    (tmp_path / "a.caffemodel").write_bytes(content)
    options = {}
    bgr = np.array([104.00698793, 116.66876762, 122.67891434])[:, None, None]
    if with_mean:
        bgr = rng.uniform(90, 130, (3, 150, 150)).astype(np.float32)
        (tmp_path / "mean.binaryproto").write_bytes(weight_files.blob(bgr[None], legacy=True))
        options = {"mean": str(tmp_path / "mean.binaryproto")}
    convert(str(tmp_path / "a.caffemodel"), str(tmp_path / "run"), image_size=SIDE, **options)
    run = open_run(tmp_path / "run")
    assert run.config.model.variant == "caffenet"
    image = rng.integers(0, 256, (150, 150, 3), np.uint8)
    assert run.config.data.image_size == 150
    # Caffe: BGR minus the mean at the place of the crop.
    start = (150 - SIDE) // 2
    inputs = (image[..., ::-1].transpose(2, 0, 1) - bgr)[:, start:, start:][:, :SIDE, :SIDE]
    expected = weight_files.forward(
        layers, inputs, pads=(0, -(SIDE - 11) % 4), lrn=(1.0, 2e-5), after_pool=True
    )
    plain = run.model.clone(conv_form="plain")
    found = jax.jit(plain.apply)(run.variables, run.preprocess(jnp.asarray(image[None])))[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


def statistics(side):
    rng = np.random.default_rng(3)
    image = rng.uniform(90, 130, (side, side, 3)).astype(np.float32)
    return Statistics(9, image, image.mean((0, 1), np.float64), np.ones(3), np.eye(3))


@pytest.mark.slow
def test_a_run_through_our_file_is_the_same_run(tmp_path, rng):
    _, variables = weight_files.network("paper")
    section = {"name": "alexnet", "variant": "paper", **weight_files.SMALL}
    photo = {"crop": SIDE, "mean": "image", "colour_noise": 0.1}
    more = {"statistics": statistics(140), "image_size": 140, "photo": photo}
    weight_files.save_run(tmp_path / "one", variables, section, **more)
    export(tmp_path / "one", "safetensors", str(tmp_path / "a.safetensors"))
    convert(str(tmp_path / "a.safetensors"), str(tmp_path / "two"))
    convert(str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    one, two = open_run(tmp_path / "one"), open_run(tmp_path / "two")
    assert one.class_names == two.class_names
    images = rng.integers(0, 256, (2, 140, 140, 3), np.uint8)
    assert np.array_equal(one.preprocess(jnp.asarray(images)), two.preprocess(jnp.asarray(images)))
    same = jax.tree.map(lambda a, b: bool((a == b).all()), one.variables, two.variables)
    assert jax.tree.all(same)


@pytest.mark.slow
def test_a_lenet_through_our_file(tmp_path):
    model = create_model(name="lenet5_1998")
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
    weight_files.save_run(tmp_path / "one", variables, {"name": "lenet5_1998"}, digits=True)
    export(tmp_path / "one", "safetensors", str(tmp_path / "a.safetensors"))
    convert(str(tmp_path / "a.safetensors"), str(tmp_path / "two"))
    two = open_run(tmp_path / "two")
    same = jax.tree.map(lambda a, b: bool((a == b).all()), variables, two.variables)
    assert jax.tree.all(same)
    assert two.config.data.pad == 2


@pytest.mark.attack("silent", "weights with NaN", "refused by the layer's name; nothing is written")
@pytest.mark.parametrize("to", ["run", "b.safetensors"])
def test_nothing_is_left_after_an_error(to, tmp_path):
    bias = np.array([1, np.nan, 0, 0, 0], np.float32)
    state_dict(tmp_path / "a.pth", **{"classifier.6.bias": bias})
    with pytest.raises(DataError, match=r"classifier\.6\.bias has NaN"):
        convert(str(tmp_path / "a.pth"), str(tmp_path / to), image_size=SIDE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_existing_places_are_not_written_to(tmp_path):
    state_dict(tmp_path / "a.pth")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").touch()
    (tmp_path / "b.safetensors").touch()
    for to in ("run", "b.safetensors", "a.pth"):
        with pytest.raises(UsageError, match="exists"):
            convert(str(tmp_path / "a.pth"), str(tmp_path / to), image_size=SIDE)


def test_an_empty_folder_becomes_a_run(tmp_path):
    state_dict(tmp_path / "a.pth")
    (tmp_path / "run").mkdir()
    convert(str(tmp_path / "a.pth"), str(tmp_path / "run"), image_size=SIDE)
    assert open_run(tmp_path / "run").class_names == ("0", "1", "2", "3", "4")


@pytest.mark.attack("one line", "a caffemodel of another net", "its first missing layer is named")
def test_another_net(tmp_path, capsys):
    layers = {"conv1_1": [np.zeros((4, 3, 3, 3))], "conv1_2": [np.zeros((4, 4, 3, 3))]}
    (tmp_path / "vgg.caffemodel").write_bytes(weight_files.caffemodel(layers))
    arguments = ["convert", f"{tmp_path}/vgg.caffemodel", f"--to={tmp_path}/run"]
    assert main(["lenet-alexnet", *arguments]) == 1
    text = capsys.readouterr().err
    assert "has no conv1.0 (it has conv1_1.0, conv1_2.0)" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([], "one file of weights"),
        (["a.pth"], "--to is missing"),
        (["b.pth", "--to=run"], "no file 'b.pth'"),
        (["a.pth", "--to=run"], "--image_size"),
        (["a.pth", "--to=run", "--image_size=131", "--variant=owl"], "unknown model.variant"),
        (["a.pth", "--to=run", "--image_size=131", "--classes=c.txt"], "2 class names for 5"),
        (["a.pth", "--to=run", "--image_size=131", "--mean=a.pth"], "as a mean image"),
    ],
)
def test_mistakes(arguments, fragment, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state_dict(tmp_path / "a.pth")
    (tmp_path / "c.txt").write_text("one\ntwo\n")
    assert main(["lenet-alexnet", "convert", *arguments]) in (1, 2)
    text = capsys.readouterr().err
    assert fragment in text
    assert text.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", {"name": "alexnot"}),
        ("model", {"name": "alexnet", "widths": 3}),
        ("model", [1]),
        ("data", {"photo": {}}),
        ("data", None),
        ("loss", 3),
        ("class_names", 3),
        ("class_names", ["a"]),
    ],
)
def test_broken_metadata(key, value, tmp_path):
    _, variables = weight_files.network("owt")
    section = {"name": "alexnet", "variant": "owt", **weight_files.SMALL}
    photo = {"crop": SIDE, "mean": "none", "colour_noise": 0.0}
    weight_files.save_run(tmp_path / "one", variables, section, image_size=140, photo=photo)
    export(tmp_path / "one", "safetensors", str(tmp_path / "a.safetensors"))
    metadata = ours.metadata(files.read(tmp_path / "a.safetensors")) | {key: value}
    ours.write(tmp_path / "b.safetensors", variables, metadata)
    with pytest.raises((DataError, UsageError)) as caught:
        convert(str(tmp_path / "b.safetensors"), str(tmp_path / "two"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "two").exists()
