"""Image files of others: the one place that decodes them.

Pillow chooses a decoder by the content, whatever the name says, and one of its decoders starts
Ghostscript. Here it chooses among the formats of `FORMATS` alone.
"""

import io
import warnings
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from lenet_alexnet.data.foreign_files import open_regular
from lenet_alexnet.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
}
ENLARGED = 8  # An image this many times smaller than what it becomes is named in the manifest.
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
BITS, PHOTOMETRIC = 258, 262  # TIFF's tags: bits a sample; 0 where white is the lowest value


class UnusableError(Exception):
    """A file that gives no image; the text says why."""


class Decoded(NamedTuple):
    """An upright image of mode L or RGB, and what its file holds."""

    image: Image.Image
    format: str  # of `FORMATS`, or MPO: a JPEG with further pictures
    size: tuple[int, int]  # width and height as stored
    notes: list[str]  # what was converted: "turned upright", "CMYK to RGB"


def read(path: str | Path, channels: int) -> Image.Image:
    """The image in a file as grey (1) or RGB (3), upright, transparency laid on white.

    16-bit samples keep their high byte, as Pillow does it for 16-bit RGB.

    Raises:
      DataError: no such file, not a regular file, not an image, or one that is damaged.
    """
    try:
        with open_regular(path) as file:
            return decode(file, channels).image
    except FileNotFoundError as error:
        raise DataError(f"no file '{path}'") from error
    except (OSError, UnusableError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise DataError(f"cannot read '{path}' as an image: {reason}") from error


def decode(file: bytes | IO[bytes], channels: int, least: int = 0) -> Decoded:
    """The image in the content of a file.

    Args:
      file: the content, or a file open for reading.
      channels: 1 (grey) or 3 (RGB).
      least: JPEGs are decoded at the smallest of 1, 1/2, 1/4, 1/8 of which no side is shorter than
        this (Pillow's `draft`); 0 decodes them in full.

    Raises:
      UnusableError: no image of `FORMATS`, truncated, damaged, more pixels than Pillow holds to be
        safe, or samples without a known range (floats, 32 bits).
    """
    file = io.BytesIO(file) if isinstance(file, bytes) else file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as image:
                return _upright(image, "L" if channels == 1 else "RGB", least)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise UnusableError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from error
        except Image.UnidentifiedImageError as error:
            raise UnusableError("not an image, or not of a known format") from error
        except (MemoryError, UnusableError):
            raise
        except Exception as error:  # Damaged files raise whatever their decoder stumbles over.
            raise UnusableError(" ".join(str(error).split()) or type(error).__name__) from error


def standardise(
    content: bytes, size: int, name: str
) -> tuple[UInt8[np.ndarray, "size size 3"], list[str]]:
    """The photo in `content` as a square: short side scaled to `size`, centre crop (2012, sec. 2).

    JPEG files are decoded at the smallest of 1, 1/2, 1/4, 1/8 that is not below `size` (Pillow's
    `draft`), then scaled with the bilinear filter widened to the scale, so that nothing aliases:
    0.15 grey levels of 255 from full decoding, and more than twice as fast where photos are large.

    Args:
      content: a JPEG, PNG, BMP, GIF, WebP, TIFF or PPM file.
      size: height and width of the result.
      name: the file's name; only its suffix matters.

    Returns:
      The image, and what was not a plain upright RGB photo of the kind its name says.

    Raises:
      UnusableError: no image, truncated, damaged, or more pixels than Pillow holds to be safe.
    """
    found = decode(content, 3, least=size)
    notes = []
    expected = SUFFIXES.get(f".{name.rpartition('.')[2].lower()}")
    if found.format != expected:
        notes.append(f"{found.format}, not {expected}")
    width, height = found.size
    if min(width, height) * ENLARGED <= size:
        notes.append(f"enlarged from {width}x{height}")
    width, height = found.image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    # Scaling the centre square alone is the same as cropping what was scaled, and cheaper.
    box = (left, top, left + side, top + side)
    image = found.image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.array(image), notes + found.notes


def _upright(image: Image.Image, mode: str, least: int) -> Decoded:
    kind, size, notes = image.format or "", image.size, []
    if least:
        image.draft("RGB", (least, least))
    _require_range(image)
    if image.getexif().get(ORIENTATION, 1) != 1:
        notes.append("turned upright")
        image = ImageOps.exif_transpose(image)
    if image.mode != mode or image.has_transparency_data:
        notes.append(f"{image.mode} to {mode}")
        image = _plain(image).convert(mode)
    image.load()
    return Decoded(image, kind, size, notes)


def _require_range(image: Image.Image) -> None:
    """Refuses samples of which nothing says what is black and what is white."""
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise UnusableError("its samples are floats or of 32 bits: their range is unknown")
    if image.mode.startswith("I;16") and tags and (tags[BITS][0] != 16 or not tags[PHOTOMETRIC]):
        raise UnusableError("a TIFF of 12 bits, or of 16 bits with white as 0, is not read")


def _plain(image: Image.Image) -> Image.Image:
    """Transparency laid on white, 16 bits to their high byte; else as it is."""
    if image.mode.startswith("I"):
        samples, clear = np.asarray(image), image.info.get("transparency")
        grey = (samples >> 8).astype(np.uint8)
        if isinstance(clear, int):
            grey[samples == clear] = 255
        return Image.fromarray(grey)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image
