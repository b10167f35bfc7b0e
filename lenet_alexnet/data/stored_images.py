"""Encodes and decodes the JPEG and PNG images in records of prepared data sets."""

import io
import struct
import zlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lenet_alexnet.data import image_files

JPEG_QUALITY = 95
PNG = b"\x89PNG\r\n\x1a\n"


def encode_jpeg(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The image as a JPEG file of quality 95."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def encode_png(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    """The image, grey or RGB, as a PNG file that is fast to write and to read.

    It has no filters and no compression, as ArrayRecord compresses.
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
    """The grey (1) or RGB (3) image in an encoded file of a prepared data set.

    Raises:
      UnusableError: no image, or a damaged one. ValueError: a damaged PNG of `encode_png`.
    """
    image = _plain_png(content, channels)
    if image is not None:
        return image
    decoded = np.asarray(image_files.decode(bytes(content), channels).image)
    return decoded.reshape(*decoded.shape[:2], channels)


def _plain_png(content: bytes | memoryview, channels: int) -> np.ndarray | None:
    """The image in a PNG file as `encode_png` writes it (one part, no filters); else None.

    For 32x32 pixels this takes a twentieth of Pillow's time.
    """
    start, end = 41, len(content) - 16  # of the compressed data, between two checksums
    if content[:8] != PNG or content[24:29] != _kind(channels) or content[37:start] != b"IDAT":
        return None
    width, height, size = (struct.unpack_from(">I", content, at)[0] for at in (16, 20, 33))
    if start + size != end:
        return None
    length = height * (1 + width * channels)
    content = zlib.decompressobj().decompress(content[start:end], length + 1)
    if len(content) != length:
        raise ValueError(f"a PNG of {width}x{height} pixels has the wrong number of bytes")
    rows = np.frombuffer(content, np.uint8).reshape(height, 1 + width * channels)
    return None if rows[:, 0].any() else rows[:, 1:].reshape(height, width, channels)


def _kind(channels: int) -> bytes:
    """The end of a PNG file's header: 8 bits, grey or RGB, not interlaced."""
    return bytes([8, {1: 0, 3: 2}[channels], 0, 0, 0])
