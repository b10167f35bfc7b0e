"""Photos as they are decoded: orientation, CMYK, transparency, 16 bits, HEIC."""

import numpy as np
import pytest
from PIL import Image

from lenet_alexnet.data import image_files
from tests.helpers.photo_files import encoded, picture

CORNERS = np.array([[0, 60], [120, 180], [240, 255]], np.uint8).repeat(8, 0).repeat(8, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_photos_are_turned_upright_by_each_orientation(tmp_path, orientation, kind):
    inverse = [
        lambda a: a,
        lambda a: a[:, ::-1],
        lambda a: a[::-1, ::-1],
        lambda a: a[::-1],
        lambda a: a.T,
        lambda a: np.rot90(a, 1),
        lambda a: a[::-1, ::-1].T,
        lambda a: np.rot90(a, -1),
    ][orientation - 1]
    exif = Image.Exif()
    exif[image_files.ORIENTATION] = orientation
    image = Image.fromarray(np.ascontiguousarray(inverse(CORNERS))).convert("RGB")
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(kind, {})
    (tmp_path / "x").write_bytes(encoded(image, kind, exif=exif, **lossless))
    found = np.asarray(image_files.read(tmp_path / "x", 1)).astype(int)
    assert found.shape == CORNERS.shape
    assert np.abs(found - CORNERS).max() <= 4
    assert image_files.short_side(tmp_path / "x") == 16


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_photos_in_cmyk_have_the_colours_of_rgb(tmp_path, kind):
    image = picture(3, (64, 48))
    (tmp_path / "x").write_bytes(encoded(image.convert("CMYK"), kind))
    found = np.asarray(image_files.read(tmp_path / "x", 3)).astype(int)
    assert np.abs(found - np.asarray(image)).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_of_photos_are_white(tmp_path, kind, mode):
    if (kind, mode) in (("TIFF", "P"), ("WEBP", "P")):
        pytest.skip("the format has no transparent palette")
    grey = Image.new("L", (20, 10), 40)
    alpha = Image.fromarray(np.repeat(np.array([[255] * 10 + [0] * 10], np.uint8), 10, 0))
    image = Image.merge("LA", (grey, alpha))
    options = {"lossless": True} if kind == "WEBP" else {}
    if mode == "P":
        image = Image.fromarray(np.asarray(alpha) // 255, "L").convert("P")
        image.putpalette([255, 0, 0, 40, 40, 40])
        options = {"transparency": 0}
    elif mode == "RGBA":
        image = image.convert("RGBA")
    (tmp_path / "x").write_bytes(encoded(image, kind, **options))
    found = np.asarray(image_files.read(tmp_path / "x", 1))
    assert (found[:, :10] == 40).all()
    assert (found[:, 10:] == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_photos_of_16_bits_keep_their_high_byte(tmp_path, kind):
    samples = np.arange(0, 65536, 655, dtype=np.uint16)[:100].reshape(10, 10)
    (tmp_path / "x").write_bytes(encoded(Image.fromarray(samples), kind))
    found = np.asarray(image_files.read(tmp_path / "x", 3))
    assert (found == (samples >> 8)[..., None]).all()
