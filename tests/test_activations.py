"""`activations`: what layers answer to image files, in files."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lenet_alexnet import create_model, load
from lenet_alexnet.cli import main
from lenet_alexnet.data.sources import embedded
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.inference import activations, layers

MODEL = "lenet5_quickstart"
SMALL = {"name": "alexnet", "image_size": 67, "num_classes": 4, "dense_width": 8}
OWT = {**SMALL, "variant": "owt", "widths": (4, 8, 8, 8, 4)}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Files of forty digits, and the digits."""
    folder, images = tmp_path_factory.mktemp("digits"), embedded.read("test").images[:40]
    files = [str(folder / f"{i}.png") for i in range(len(images))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image[..., 0]).save(file)
    return files, images


def arrays(path):
    if path.suffix == ".npz":
        with np.load(path) as opened:  # without pickles
            return {name: opened[name] for name in opened.files}
    h5py = pytest.importorskip("h5py", reason="an extra")
    with h5py.File(path) as opened:
        found = {name: opened[name][()] for name in opened}
    return {k: v.astype(str) if v.dtype == object else v for k, v in found.items()}


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_the_file_has_each_layers_outputs_and_the_names(digits, tmp_path, capsys, suffix):
    if suffix == ".h5":
        pytest.importorskip("h5py", reason="an extra")
    files, images = digits
    out = tmp_path / f"a{suffix}"
    flags = [f"--model={MODEL}", "--layers=C3,F6", f"--out={out}"]
    assert main(["x", "activations", *flags, *files]) == 0
    assert "C3: 40x10x10x16" in capsys.readouterr().out
    found, network = arrays(out), load(MODEL)
    wanted = network.features(images, ["C3", "F6"]) | {"logits": network(images)}
    assert set(found) == {*wanted, "files", "classes"}
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)
    assert found["files"].tolist() == files
    assert found["classes"].tolist() == list(network.class_names)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_batches_do_not_decide_the_numbers(digits, tmp_path, monkeypatch):
    """Images are read batch by batch, not all at once."""
    run, (files, _) = load(MODEL).run, digits
    read = []
    prepare = activations.prepare

    def counted(file, run):
        read.append(file)
        return prepare(file, run)

    def most_waiting(arrays, batches):
        for start, batch in enumerate(batches):
            assert len(read) <= (start + 1) * activations.BATCH
            for name, array in arrays.items():
                first = start * activations.BATCH
                array[first : first + len(batch[name])] = batch[name]

    monkeypatch.setattr(activations, "BATCH", 7)
    monkeypatch.setattr(activations, "prepare", counted)
    monkeypatch.setattr(activations, "_fill", most_waiting)
    activations.write(run, files, ["F6"], tmp_path / "a.npz")
    monkeypatch.undo()
    activations.write(run, files, ["F6"], tmp_path / "b.npz")
    a, b = arrays(tmp_path / "a.npz"), arrays(tmp_path / "b.npz")
    np.testing.assert_allclose(a["F6"], b["F6"], rtol=1e-5, atol=1e-5)


def owt(rng):
    """A small network of torchvision's layers, with random weights and a photo."""
    model = create_model(**OWT)
    photo = jnp.asarray(rng.normal(size=(2, *model.input_shape)), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), photo)
    return model, jax.tree.map(lambda s: rng.normal(size=s.shape).astype("f4") / 8, shapes), photo


def test_torchvisions_names_mean_what_they_mean_there(rng):
    """features.0 is before the ReLU, features.1 after it, as modules of torchvision's alexnet."""
    model, variables, photo = owt(rng)
    names = list(layers.aliases(model))

    @jax.jit
    def outputs(variables, photo):
        found = layers.outputs(model, variables, photo, [*names, "conv1", "fc8"])
        return found | {"logits": model.apply(variables, photo)}

    found = outputs(variables, photo)
    assert len(names) == 5 * 2 + 3 + 2 * 2 + 1
    for place in (0, 3, 6, 8, 10):
        before, after = found[f"features.{place}"], found[f"features.{place + 1}"]
        assert (before < 0).any()
        np.testing.assert_array_equal(after, jnp.maximum(before, 0))
    for place in (1, 4):
        before, after = found[f"classifier.{place}"], found[f"classifier.{place + 1}"]
        np.testing.assert_array_equal(after, jnp.maximum(before, 0))
    np.testing.assert_array_equal(found["conv1"], found["features.1"])
    np.testing.assert_array_equal(found["fc8"], found["classifier.6"])
    np.testing.assert_array_equal(found["fc8"], found["logits"])
    kernel = variables["params"]["conv1"]["kernel"][0]
    plain = jax.lax.conv_general_dilated(
        photo, kernel, (4, 4), ((2, 2), (2, 2)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    bias = variables["params"]["conv1"]["bias"][0]
    np.testing.assert_allclose(found["features.0"], plain + bias, rtol=1e-4, atol=1e-4)


def test_a_network_that_torchvision_lacks_has_no_names_there():
    assert layers.aliases(create_model(**SMALL, widths=(4, 8, 8, 8, 4))) == {}
    with pytest.raises(UsageError, match="did you mean 'conv5'"):
        layers.check(create_model(**OWT), ["conv9", "features.1"])


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--layers=C1,f6"], 2, "unknown layer 'f6': did you mean 'F6'"),
        (["--layers=C1,C1"], 2, "names a layer twice"),
        (["--layers="], 2, "--layers is empty"),
        (["--layers=C1", "--out=a.csv"], 2, "ends in neither .npz nor .h5"),
        (["--layers=C1", "--out=none/a.npz"], 1, "cannot write 'none/a.npz'"),
        (["--layers=C1", "missing.png"], 1, "no file 'missing.png'"),
        (["--layers=C1", "text.png"], 1, "text.png"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    digits, tmp_path, monkeypatch, capsys, flags, code, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no image")
    arguments = [f"--model={MODEL}", "--out=a.npz", digits[0][0], *flags]
    assert main(["x", "activations", *arguments]) == code
    lines = capsys.readouterr().err.splitlines()
    (error,) = (line for line in lines if not line.startswith("waiting for the C++ compiler"))
    assert words in error
    assert [path.name for path in tmp_path.iterdir()] == ["text.png"]


def test_without_images_or_h5py_it_says_so(digits, tmp_path, monkeypatch, capsys):
    assert main(["x", "activations", f"--model={MODEL}", "--layers=C1", "--out=a.npz"]) == 2
    assert "no images" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "h5py", None)
    out = f"--out={tmp_path / 'a.h5'}"
    assert main(["x", "activations", f"--model={MODEL}", "--layers=C1", out, digits[0][0]]) == 2
    assert "lenet-alexnet[h5]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_if_an_image_is_damaged(digits, tmp_path):
    out = tmp_path / "a.npz"
    out.write_bytes(b"before")
    (tmp_path / "bad.png").write_text("no image")
    run = load(MODEL).run
    with pytest.raises(DataError, match=r"bad\.png"):
        activations.write(run, [digits[0][0], str(tmp_path / "bad.png")], ["C1"], out)
    assert out.read_bytes() == b"before"
