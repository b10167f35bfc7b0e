"""Files of weights: what is read, the names of others, and what is refused."""

import io
import json
import pickle
import re

import jax
import numpy as np
import pytest

from lenet_alexnet.errors import DataError, LenetAlexnetError, UsageError
from lenet_alexnet.weights import files, names, ours, protobuf, recognise, torch_writer
from lenet_alexnet.weights.weight_file import WeightFile
from tests.helpers import weight_files

STYLES = ("ours", "torchvision", "caffe-npy", "caffe")
SUFFIX = {"torchvision": "pth", "caffe-npy": "npz", "ours": "safetensors", "caffe": "caffemodel"}


def write(path, style, model, variables):
    """A file in a style."""
    arrays = names.from_variables(model, variables, style)
    if style == "ours":
        ours.write(path, variables, {"model": {}})
    elif style == "torchvision":
        torch_writer.write(path, arrays)
    elif style == "caffe-npy":
        np.savez(path, **arrays)
    else:
        layers = {name: [arrays[f"{name}.{i}"] for i in (0, 1)] for name in names.LAYERS}
        path.write_bytes(weight_files.caffemodel(layers))
    return path


def equal(a, b):
    a, b = names.flatten(a), names.flatten(b)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_file_that_torch_wrote(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(weight_files.by_torch())
    file = files.read(path)
    whole = np.arange(12.0).reshape(3, 4)
    assert file.format == "torch"
    assert np.array_equal(file.arrays["whole"], whole)
    assert np.array_equal(file.arrays["transposed"], whole.T)
    assert np.array_equal(file.arrays["row"], whole[1])
    assert np.array_equal(file.arrays["half"], [1.5, -2.0])
    assert np.array_equal(file.arrays["brain"].astype(np.float32), [[0.5], [3.0]])
    assert file.arrays["count"] == 7
    assert np.array_equal(file.arrays["parameter"], [1, 1])


@pytest.mark.parametrize("variant", weight_files.STYLED)
@pytest.mark.parametrize("style", STYLES)
def test_round_trips_to_the_bit(style, variant, tmp_path):
    model, variables = weight_files.network(variant)
    path = write(tmp_path / f"a.{SUFFIX[style]}", style, model, variables)
    file = files.read(path)
    assert names.style_of(file.arrays) == style
    assert equal(names.to_variables(file, model, variables), variables)
    assert names.num_classes(file) == 5


@pytest.mark.parametrize("style", ["torchvision", "caffe-npy"])
@pytest.mark.parametrize(
    ("options", "layer"), [({"variant": "bn"}, "bn1"), ({"conv6": True}, "conv6")]
)
def test_what_a_style_has_no_name_for_is_refused_by_name(style, options, layer):
    model, variables = weight_files.network(**options)
    with pytest.raises(UsageError, match=f"no name for {layer}"):
        names.from_variables(model, variables, style)


def test_the_layouts_against_loops_in_torchs_layout(rng):
    model, variables = weight_files.network("owt")
    arrays = names.from_variables(model, variables, "torchvision")
    layers = {
        layer: (arrays[f"{place}.weight"], arrays[f"{place}.bias"])
        for layer, place in names.TORCHVISION.items()
    }
    image = rng.normal(size=model.input_shape).astype(np.float32)
    expected = weight_files.forward(layers, image.transpose(2, 0, 1))
    found = jax.jit(model.apply)(variables, image[None])[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("variant", ["caffe", "caffenet"])
def test_the_layouts_against_loops_in_caffes_layout(variant, rng):
    model, variables = weight_files.network(variant)
    arrays = names.from_variables(model, variables, "caffe")
    layers = {name: (arrays[f"{name}.0"], arrays[f"{name}.1"]) for name in names.LAYERS}
    image = rng.normal(size=model.input_shape).astype(np.float32)
    expected = weight_files.forward(
        layers,
        image.transpose(2, 0, 1)[::-1],  # BGR
        pads=(0, -(weight_files.SIDE - 11) % 4),
        lrn=(1.0, 2e-5),
        after_pool=variant == "caffenet",
    )
    found = jax.jit(model.apply)(variables, image[None])[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("first_version", [True, False])
def test_caffes_two_formats(first_version, packed, tmp_path, rng):
    layers = {
        "data": [],
        "conv1": [rng.normal(size=(4, 3, 2, 2)), rng.normal(size=4)],
        "fc8": [rng.normal(size=(5, 9)), rng.normal(size=5)],
    }
    path = tmp_path / "a.caffemodel"
    content = weight_files.caffemodel(layers, first_version=first_version, packed=packed)
    path.write_bytes(content)
    file = files.read(path)
    assert file.metadata["layers"] == list(layers)
    for name, blobs in layers.items():
        for i, array in enumerate(blobs):
            assert np.array_equal(file.arrays[f"{name}.{i}"], array.astype(np.float32))


def test_a_structured_npy_file(tmp_path):
    layer = np.dtype([("weights", "f4", (2, 3)), ("biases", "f4", 3)])
    array = np.zeros((), np.dtype([("fc8", layer)]))
    array["fc8"]["biases"] = 1, 2, 3
    np.save(tmp_path / "a.npy", array)
    file = files.read(tmp_path / "a.npy")
    assert np.array_equal(file.arrays["fc8/biases"], [1, 2, 3])
    assert file.arrays["fc8/weights"].shape == (2, 3)


def test_names_of_data_parallel_and_of_a_checkpoint(tmp_path):
    model, variables = weight_files.network("owt")
    arrays = names.from_variables(model, variables, "torchvision")
    renamed = {
        f"module.{name}".replace("features.", "features.module."): a for name, a in arrays.items()
    }
    torch_writer.write(tmp_path / "a.pth", renamed)
    assert equal(names.to_variables(files.read(tmp_path / "a.pth"), model, variables), variables)


@pytest.mark.parametrize(
    ("variant", "style", "expected"),
    [
        ("owt", "torchvision", {"variant": "owt", "image_size": 131}),
        ("caffe", "caffe-npy", {"variant": "caffe", "image_size": 131}),
    ],
)
def test_the_network_of_a_file_is_recognised(variant, style, expected, tmp_path):
    model, variables = weight_files.network(variant)
    file = files.read(write(tmp_path / f"a.{SUFFIX[style]}", style, model, variables))
    found = recognise.model_section(file, image_size=131)
    sizes = {"num_classes": 5, "widths": (4, 8, 6, 8, 6), "dense_width": 10}
    assert found == {"name": "alexnet", **expected, **sizes}
    with pytest.raises(UsageError, match="name their size with --image_size"):
        recognise.model_section(file)


def test_a_files_variant_must_be_named_where_it_does_not_show(tmp_path):
    file = files.read(write(tmp_path / "a.pth", "torchvision", *weight_files.network("paper")))
    with pytest.raises(UsageError, match=r"--variant=paper\|source2012"):
        recognise.model_section(file, image_size=131)
    assert recognise.model_section(file, variant="paper", image_size=131)["variant"] == "paper"


class TestMisfits:
    """The first layer that does not fit is named."""

    @pytest.fixture
    def parts(self):
        model, variables = weight_files.network("owt")
        return model, variables, names.from_variables(model, variables, "torchvision")

    def error(self, parts):
        model, variables, arrays = parts
        with pytest.raises(LenetAlexnetError) as caught:
            names.to_variables(WeightFile("F", "torch", arrays, {}), model, variables)
        return str(caught.value)

    def test_missing(self, parts):
        del parts[2]["features.6.bias"]
        assert self.error(parts).startswith("'F' has no features.6.bias (it has features.0.weight,")

    def test_another_shape(self, parts):
        parts[2]["features.3.weight"] = np.zeros((8, 3, 5, 5), np.float32)
        wanted = "'F': features.3.weight is 8x3x5x5, the network needs 8x4x5x5"
        assert self.error(parts) == wanted

    def test_one_more(self, parts):
        parts[2]["features.12.weight"] = np.zeros(3, np.float32)
        assert self.error(parts) == "'F' has features.12.weight, which the network does not have"

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, parts, value):
        parts[2]["classifier.4.bias"][3] = value
        assert self.error(parts) == "'F': classifier.4.bias has NaN or infinite numbers"

    def test_whole_numbers(self, parts):
        parts[2]["classifier.4.bias"] = parts[2]["classifier.4.bias"].astype(np.int64)
        assert self.error(parts) == "'F': classifier.4.bias holds int64, not floats"

    def test_another_net(self, parts):
        arrays = {"conv1_1.0": np.zeros((4, 3, 3, 3)), "conv1_1.1": np.zeros(4)}
        assert "'F' has no conv1.0 (it has conv1_1.0" in self.error((*parts[:2], arrays))

    def test_unknown_names(self, parts):
        assert "weights of unknown names (a, b)" in self.error((*parts[:2], {"a": 1, "b": 2}))


class Code:
    """A pickle of this would call a function."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def refused(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        files.read(path)
    text = str(caught.value)
    assert text.startswith(f"cannot read '{path}': ")
    assert "\n" not in text
    return text


@pytest.mark.attack("foreign", "weights with code in their pickle", "refused; nothing is called")
def test_code_in_a_torch_file_is_not_run(tmp_path):
    marker = tmp_path / "marker"
    content = pickle.dumps({"features.0.weight": Code(marker)}, protocol=2)
    path = tmp_path / "a.pth"
    text = refused(path, weight_files.zip_bytes({"a/data.pkl": content, "a/version": b"3\n"}))
    assert re.search(r"would import '(_io|io|builtins|__builtin__)\.open'", text)
    assert "would" in refused(
        path, weight_files.zip_bytes({"a/data.pkl": pickle.dumps(Code(marker))})
    )
    assert "a pickle" in refused(path, pickle.dumps(Code(marker)))
    assert not marker.exists()


@pytest.mark.attack("foreign", "a pickled .npy file", "refused with the way out; nothing is called")
def test_a_pickled_npy_is_refused_with_the_way_out(tmp_path):
    marker, file = tmp_path / "marker", io.BytesIO()
    np.save(file, np.array({"conv1": [Code(marker)]}, object), allow_pickle=True)
    text = refused(tmp_path / "a.npy", file.getvalue())
    assert "np.savez('FILE.npz'" in text
    assert not marker.exists()


def test_the_way_out_of_a_pickled_npy_works(tmp_path, monkeypatch):
    layers = {"conv1": [np.ones((2, 2, 3, 4)), np.zeros(4)]}
    np.save(tmp_path / "FILE.npy", np.array(layers, object), allow_pickle=True)
    text = refused(tmp_path / "other.npy", (tmp_path / "FILE.npy").read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(text.split('python -c "')[1].removesuffix('"'), {})
    file = files.read("FILE.npz")
    assert file.arrays.keys() == {"conv1/weights", "conv1/biases"}


def tensor_pickle(size, stride, offset=0, count=4, key="0"):
    """A state dict of one tensor, in bytes."""

    def integers(numbers):
        return b"(" + b"".join(b"J" + int(n).to_bytes(4, "little") for n in numbers) + b"t"

    def text(word):
        return b"X" + len(word).to_bytes(4, "little") + word.encode()

    place = text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
    place = b"(" + place + b"J" + count.to_bytes(4, "little") + b"tQ"
    arguments = place + b"J" + offset.to_bytes(4, "little") + integers(size) + integers(stride)
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"\x89}tR"
    return weight_files.zip_bytes(
        {"a/data.pkl": b"\x80\x02}" + text("w") + tensor + b"s.", "a/data/0": bytes(16)}
    )


def test_tensors_stay_within_their_storage(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(tensor_pickle((2, 2), (2, 1)))
    assert files.read(path).arrays["w"].shape == (2, 2)
    for broken in (
        tensor_pickle((2, 3), (2, 1)),
        tensor_pickle((2, 2), (9, 1)),
        tensor_pickle((2, 2), (2, 1), offset=1),
        tensor_pickle((10**6, 10**6), (0, 0)),
        tensor_pickle((2, 2), (2, 1), count=400),
        tensor_pickle((2, 2), (2, 1), key="1"),
    ):
        refused(path, broken)


@pytest.mark.attack("one line", "a truncated file of weights", "refused, at every length")
def test_truncated_files(tmp_path):
    for style in STYLES:
        path = tmp_path / f"a.{SUFFIX[style]}"
        content = write(path, style, *weight_files.network("owt")).read_bytes()
        for length in (0, 4, 9, 20, len(content) // 2, len(content) - 3):
            refused(path, content[:length])


@pytest.mark.attack("hangs", "a zip that grows a thousandfold", "refused before it is unpacked")
def test_zip_bombs(tmp_path):
    zeros = bytes(4 << 20)
    for name in ("a.npy", "a/data.pkl"):
        text = refused(tmp_path / "a.npz", weight_files.zip_bytes({name: zeros}))
        assert "would grow to 4,194,304" in text


@pytest.mark.attack("hangs", "an .npy header of 2^40 numbers", "refused; nothing is allocated")
def test_a_header_that_promises_more(tmp_path):
    file = io.BytesIO()
    np.save(file, np.zeros(4, np.float32))
    content = file.getvalue().replace(b"(4,)", b"(1099511627776,)", 1)
    refused(tmp_path / "a.npz", weight_files.zip_bytes({"w.npy": content}))


@pytest.mark.attack("hangs", "a safetensors header of 2^60 bytes", "refused; nothing is allocated")
def test_safetensors_headers(tmp_path):
    path = tmp_path / "a.safetensors"
    assert f"header of {2**60:,} bytes" in refused(
        path, weight_files.safetensors_bytes(b"{}", length=2**60)
    )
    entry = {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    header = json.dumps(entry).encode()
    assert "truncated" in refused(path, weight_files.safetensors_bytes(header, bytes(8)))
    for wrong in (b"[]", b"{", b'{"w": 3}', b'{"w": {"data_offsets": [0, "a"]}}', b"[" * 9000):
        assert "header" in refused(path, weight_files.safetensors_bytes(wrong, bytes(16)))
    entry["w"]["shape"] = [5]
    refused(path, weight_files.safetensors_bytes(json.dumps(entry).encode(), bytes(16)))


@pytest.mark.attack("silent", "a changed number in our weights", "the checksum is compared")
def test_our_files_are_compared_with_their_checksum(tmp_path):
    path = tmp_path / "a.safetensors"
    ours.write(path, {"params": {"F6": {"bias": np.ones(4, np.float32)}}}, {"model": {"name": "x"}})
    assert ours.metadata(files.read(path)) == {"model": {"name": "x"}}
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x40")
    with pytest.raises(DataError, match="not as they were written"):
        ours.metadata(files.read(path))


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("a.pth", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "before 1.6"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("a.bin", b"what is this", "it is no .pth"),
        ("a.zip", weight_files.zip_bytes({"readme.txt": b"hello"}), "neither torch's nor NumPy's"),
        ("a.caffemodel", b"what is this", "damaged"),
        ("a.npy", b"\x93NUMPY\x01\x00", "damaged"),
    ],
)
def test_other_files(name, content, fragment, tmp_path):
    assert fragment in refused(tmp_path / name, content)


def test_no_file(tmp_path):
    with pytest.raises(UsageError, match="no file"):
        files.read(tmp_path / "a.pth")
    with pytest.raises(DataError, match="cannot read"):
        files.read(tmp_path)


def test_runs_of_protobuf_fields_of_any_length(rng):
    """Runs of 1 to 100 values, whose blocks end anywhere, between fields of other kinds."""
    message, wanted = b"", []
    for length in (1, 15, 16, 17, 47, 48, 49, 100):
        values = rng.standard_normal(length).astype("<f4")
        message += b"".join(b"\x2d" + value.tobytes() for value in values) + b"\x08\x07"
        wanted += [(5, values.tobytes(), 0), (1, b"", 7)]
    found = [(f.number, bytes(f.content), f.varint) for f in protobuf.fields(memoryview(message))]
    assert found == wanted


@pytest.mark.attack("hangs", "a .caffemodel of a million tiny fields", "one line: it is no network")
def test_a_caffemodel_of_too_many_fields_is_refused(tmp_path):
    path = tmp_path / "a.caffemodel"
    path.write_bytes((b"\x2d1234" + b"\x355678") * 60_000)
    with pytest.raises(DataError, match="more than 100,000 fields"):
        files.read(path)
