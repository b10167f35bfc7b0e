import os
import socket

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from lenet_alexnet.data import image_files
from lenet_alexnet.data.sources import folder
from lenet_alexnet.errors import DataError
from tests.helpers.photo_files import encoded, picture

GREY = np.array([[0, 60, 230], [20, 255, 128]], np.uint8)
DEEP = Image.fromarray(GREY.astype(np.uint16) * 257)


@pytest.mark.attack("silent", "16-bit images", "the same answer as with 8 bits")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_to_8(tmp_path, kind, channels):
    (tmp_path / "x").write_bytes(encoded(DEEP, kind))
    found = np.asarray(image_files.read(tmp_path / "x", channels))
    assert np.array_equal(found if channels == 1 else found[..., 0], GREY)
    prepared, _ = image_files.standardise(encoded(DEEP.crop((0, 0, 2, 2)), kind), 2, "x.png")
    assert np.array_equal(prepared[..., 1], GREY[:, :2])


@pytest.mark.attack("silent", "16-bit images with transparency", "laid on white, then scaled")
def test_transparency_of_16_bits_is_laid_on_white(tmp_path):
    (tmp_path / "x.png").write_bytes(encoded(DEEP, "PNG", transparency=60 * 257))
    expected = np.where(GREY == 60, 255, GREY)
    assert np.array_equal(np.asarray(image_files.read(tmp_path / "x.png", 1)), expected)


@pytest.mark.attack("silent", "images of floats or 32-bit numbers", "one line")
@pytest.mark.parametrize("samples", [GREY.astype(np.float32), GREY.astype(np.int32) * 1000])
def test_samples_without_a_range_are_refused(tmp_path, samples):
    (tmp_path / "x.tif").write_bytes(encoded(Image.fromarray(samples), "TIFF"))
    with pytest.raises(DataError, match=r"x\.tif' as an image: .*range is unknown"):
        image_files.read(tmp_path / "x.tif", 1)


@pytest.mark.attack(
    "foreign",
    "an EPS file, which starts Ghostscript, named .png",
    "one line; its decoder is not started",
)
@pytest.mark.parametrize("kind", ["EPS", "ICO", "PCX", "SGI"])
def test_other_formats_are_never_decoded(tmp_path, monkeypatch, kind):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: started.append(1))
    (tmp_path / "x.png").write_bytes(encoded(picture(0), kind))
    with pytest.raises(DataError, match="not of a known format"):
        image_files.read(tmp_path / "x.png", 3)
    with pytest.raises(image_files.UnusableError, match="not of a known format"):
        image_files.standardise((tmp_path / "x.png").read_bytes(), 8, "x.png")
    assert not started


@pytest.mark.parametrize("kind", sorted(image_files.FORMATS))
def test_each_known_format_is_read(tmp_path, kind):
    image = picture(1, (80, 60))
    (tmp_path / "x").write_bytes(encoded(image, kind))
    found = np.asarray(image_files.read(tmp_path / "x", 3)).astype(int)
    assert np.abs(found - np.asarray(image)).mean() < 12


@pytest.mark.attack(
    "hangs", "a FIFO, socket or folder in place of an image", "one line; it is not opened"
)
@pytest.mark.parametrize("kind", ["fifo", "socket", "folder"])
def test_what_is_no_file_is_refused_unopened(tmp_path, monkeypatch, kind):
    path = tmp_path / "train" / "a" / "x.png"
    path.parent.mkdir(parents=True)
    monkeypatch.chdir(path.parent)  # The path of a socket must be short.
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("x.png")
    with pytest.raises(DataError, match=r"cannot read '.*x\.png' as an image"):
        folder.read(tmp_path, "train", 8, 1)
