"""One photograph: the bytes of a file to a square RGB image, and what had to be converted."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lenet_alexnet.data import images
from lenet_alexnet.data.images import SUFFIXES, UnusableError

__all__ = ["UnusableError", "decode_jpeg", "encode_jpeg", "standardise"]

JPEG_QUALITY = 95
ENLARGED = 8  # An image this many times smaller than what it becomes is named in the manifest.


def standardise(
    content: bytes, size: int, name: str
) -> tuple[UInt8[np.ndarray, "size size 3"], list[str]]:
    """The photo in `content`, short side scaled to `size`, centre crop (2012, sec. 2).

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
    found = images.decode(content, 3, least=size)
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


def encode_jpeg(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The image as a JPEG file of quality 95."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def decode_jpeg(content: bytes | memoryview) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB image in an encoded file that was written by us."""
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return np.asarray(image.convert("RGB"))
