"""One photograph: the bytes of a file to a square RGB image, and what had to be converted."""

import io
import warnings

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".gif": "GIF",
            ".webp": "WEBP"}  # fmt: skip
JPEG_QUALITY = 95
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


def decode_jpeg(content: bytes | memoryview) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB image in an encoded file that was written by us."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))
