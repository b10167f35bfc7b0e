"""Decodes image files from outside the program; no other module does.

Pillow chooses a decoder by the content, not by the name, and one of its decoders starts
Ghostscript. Here it may only choose among `FORMATS`, or `HEIF` for a file that begins as one.
"""

import importlib.util
import io
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from lenet_alexnet.data.foreign_files import open_regular
from lenet_alexnet.errors import DataError, UsageError

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
    ".heic": "HEIF",
    ".heif": "HEIF",
}
# ISO/IEC 23008-12, annex B: the brand after `ftyp` in the first box of a file.
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1")
HEIF_LIBRARY = "pillow-heif: pip install 'lenet-alexnet[heif]'"
ENLARGED = 8  # Images that are enlarged by this factor or more are listed in the manifest.
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
BITS, PHOTOMETRIC = 258, 262  # TIFF's tags: bits per sample; 0 if white is the lowest value

T = TypeVar("T")


class UnusableError(Exception):
    """The file holds no usable image; the message has the reason."""


class Decoded(NamedTuple):
    """An upright image of mode L or RGB, and the properties of its file."""

    image: Image.Image
    format: str  # of `FORMATS`, HEIF, or MPO: a JPEG with further pictures
    size: tuple[int, int]  # width and height as stored
    notes: list[str]  # what was converted: "turned upright", "CMYK to RGB"


def read(path: str | Path, channels: int) -> Image.Image:
    """The image in a file as grey (1) or RGB (3), upright, with transparency on white.

    16-bit samples keep their high byte, as in Pillow for 16-bit RGB.

    Raises:
      DataError: no such file, not a regular file, not an image, or one that is damaged.
    """
    return _of_file(path, lambda file: decode(file, channels).image)


def _of_file(path: str | Path, use: Callable[[IO[bytes]], T]) -> T:
    """The result of `use` for a file; DataError if it cannot be used."""
    try:
        with open_regular(path) as file:
            return use(file)
    except FileNotFoundError as error:
        raise DataError(f"no file '{path}'") from error
    except (OSError, UnusableError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise DataError(f"cannot read '{path}' as an image: {reason}") from error


def decode(file: bytes | IO[bytes], channels: int, least: int = 0) -> Decoded:
    """Decodes the image in a file.

    Args:
      file: the content, or a file open for reading.
      channels: 1 (grey) or 3 (RGB).
      least: JPEGs are decoded at the smallest of the scales 1, 1/2, 1/4, 1/8 at which no side is
        shorter than this (Pillow's `draft`); 0 decodes them in full.

    Raises:
      UnusableError: no image of `FORMATS` or HEIF, truncated, damaged, more pixels than Pillow's
        safety limit, samples without a known range (floats, 32 bits), or no library for HEIF.
    """
    return _opened(file, lambda image: _upright(image, "L" if channels == 1 else "RGB", least))


def short_side(path: str | Path) -> int:
    """The shorter side of the image in a file, in pixels; these are not decoded.

    Raises:
      DataError: as `read`.
    """
    return _of_file(path, lambda file: _opened(file, lambda image: min(image.size)))


def require_readers(files: Iterable[Path]) -> None:
    """Raises UsageError if a library is missing for a file, by its suffix."""
    heif = [path for path in files if SUFFIXES.get(path.suffix.lower()) == "HEIF"]
    if heif and importlib.util.find_spec("pillow_heif") is None:
        raise UsageError(f"HEIC photos, such as '{heif[0]}', need {HEIF_LIBRARY}")


def _opened(file: bytes | IO[bytes], use: Callable[[Image.Image], T]) -> T:
    """The result of `use` for the image in a file, see `decode`."""
    file = io.BytesIO(file) if isinstance(file, bytes) else file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=_formats(file)) as image:
                return use(image)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise UnusableError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from error
        except Image.UnidentifiedImageError as error:
            raise UnusableError("not an image, or not of a known format") from error
        except (MemoryError, UnusableError):
            raise
        except Exception as error:  # On damaged files decoders raise many kinds.
            raise UnusableError(" ".join(str(error).split()) or type(error).__name__) from error


def _formats(file: io.BytesIO | IO[bytes]) -> tuple[str, ...]:
    """The formats that a file may have: HEIF if it begins as one, else `FORMATS`."""
    start = file.read(12)
    file.seek(0)
    if start[4:8] != b"ftyp" or start[8:] not in HEIF_BRANDS:
        return FORMATS
    try:
        import pillow_heif
    except ImportError as error:
        raise UnusableError(f"HEIC photos need {HEIF_LIBRARY}") from error
    pillow_heif.register_heif_opener(thumbnails=False)
    return ("HEIF",)


def standardise(
    content: bytes, size: int, name: str
) -> tuple[UInt8[np.ndarray, "size size 3"], list[str]]:
    """The photo in `content` as a square: short side scaled to `size`, centre crop (2012, sec. 2).

    JPEG files are decoded at the smallest of the scales 1, 1/2, 1/4, 1/8 that is not below `size`
    (Pillow's `draft`), then resized by a bilinear filter widened to the scale, so that nothing
    aliases: 0.15 grey levels of 255 from full decoding, more than twice as fast for large photos.

    Args:
      content: a JPEG, PNG, BMP, GIF, WebP, TIFF or PPM file.
      size: height and width of the result.
      name: the file's name; only its suffix matters.

    Returns:
      The image, and notes on how the file differs from an upright RGB photo of its suffix's format.

    Raises:
      UnusableError: no image, truncated, damaged, or more pixels than Pillow's safety limit.
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
    # Scaling only the centre square gives the same as cropping after scaling, and is cheaper.
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
    """Raises UnusableError if the file does not define which samples are black and white."""
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise UnusableError("its samples are floats or have 32 bits: their range is unknown")
    if image.mode.startswith("I;16") and tags and (tags[BITS][0] != 16 or not tags[PHOTOMETRIC]):
        raise UnusableError("a TIFF of 12 bits, or of 16 bits with white as 0, is not supported")


def _plain(image: Image.Image) -> Image.Image:
    """The image with transparency on white and 16-bit samples cut to their high byte."""
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
