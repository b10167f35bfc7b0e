"""One photograph: the bytes of a file to a square RGB image, and what had to be converted."""

import io
import struct
import warnings
import zlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".gif": "GIF",
            ".webp": "WEBP"}  # fmt: skip
JPEG_QUALITY = 95
PNG = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
ENLARGED = 8  # An image this many times smaller than what it becomes is named in the manifest.


class UnusableError(Exception):
    """A file that gives no image; the text says why."""


def standardise(
    content: bytes, size: int, name: str
) -> tuple[UInt8[np.ndarray, "size size 3"], list[str]]:
    """The photo in `content`, short side scaled to `size`, centre crop (2012, sec. 2).

    JPEG files are decoded at the smallest of 1, 1/2, 1/4, 1/8 that is not below `size` (Pillow's
    `draft`), then scaled with the bilinear filter widened to the scale, so that nothing aliases:
    0.15 grey levels of 255 from full decoding, and more than twice as fast where photos are large.

    Args:
      content: a JPEG, PNG, BMP, GIF or WebP file.
      size: height and width of the result.
      name: the file's name; only its suffix matters.

    Returns:
      The image, and what was not a plain upright RGB photo of the kind its name says.

    Raises:
      UnusableError: no image, truncated, damaged, or more pixels than Pillow holds to be safe.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return _square(image, size, name)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise UnusableError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from error
        except Image.UnidentifiedImageError as error:
            raise UnusableError("not an image, or not of a known format") from error
        except MemoryError:
            raise
        except Exception as error:  # Damaged files raise whatever their decoder stumbles over.
            raise UnusableError(str(error) or type(error).__name__) from error


def _square(image: Image.Image, size: int, name: str) -> tuple[np.ndarray, list[str]]:
    notes = []
    expected = SUFFIXES.get(f".{name.rpartition('.')[2].lower()}")
    if image.format != expected:
        notes.append(f"{image.format}, not {expected}")
    width, height = image.size
    if min(width, height) * ENLARGED <= size:
        notes.append(f"enlarged from {width}x{height}")
    image.draft("RGB", (size, size))
    if image.getexif().get(ORIENTATION, 1) != 1:
        notes.append("turned upright")
        image = ImageOps.exif_transpose(image)
    if image.mode != "RGB" or image.has_transparency_data:
        notes.append(f"{image.mode} to RGB")
        image = to_rgb(image)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    # Scaling the centre square alone is the same as cropping what was scaled, and cheaper.
    box = (left, top, left + side, top + side)
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.array(image), notes


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: transparency is laid on white, 16-bit grey keeps its high byte."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def encode_jpeg(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The image as a JPEG file of quality 95."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def encode_png(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    """The image, grey or RGB, as a PNG file that is quick to write and to read.

    No filters, no compression: an ArrayRecord compresses by itself.
    """
    height, width, channels = image.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter, 0
    rows[:, 1:] = image.reshape(height, -1)
    head = struct.pack(">II", width, height) + _kind(channels)
    data = zlib.compress(rows.tobytes(), 0)
    parts = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    return PNG + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in parts
    )


def decode(content: bytes | memoryview, channels: int = 3) -> UInt8[np.ndarray, "h w c"]:
    """The grey (1) or RGB (3) image in an encoded file of a prepared data set."""
    image = _plain_png(content, channels)
    if image is not None:
        return image
    with Image.open(io.BytesIO(content)) as file:
        decoded = np.asarray(file.convert("RGB" if channels == 3 else "L"))
    return decoded.reshape(*decoded.shape[:2], channels)


def _plain_png(content: bytes | memoryview, channels: int) -> np.ndarray | None:
    """The image in a PNG file of one part and without filters, as `encode_png` writes; else None.

    For 32x32 pixels this takes a twentieth of Pillow's time.
    """
    start, end = 41, len(content) - 16  # of the compressed data, between two checksums
    if content[:8] != PNG or content[24:29] != _kind(channels) or content[37:start] != b"IDAT":
        return None
    width, height, size = (struct.unpack_from(">I", content, at)[0] for at in (16, 20, 33))
    if start + size != end:
        return None
    rows = np.frombuffer(zlib.decompress(content[start:end]), np.uint8)
    rows = rows.reshape(height, 1 + width * channels)
    return None if rows[:, 0].any() else rows[:, 1:].reshape(height, width, channels)


def _kind(channels: int) -> bytes:
    """The end of a PNG file's header: 8 bits, grey or RGB, not interlaced."""
    return bytes([8, {1: 0, 3: 2}[channels], 0, 0, 0])
