"""Writes a network as StableHLO in the file format of `jax.export`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def write(path: Path, logits: Callable[[Any], Any], shape: tuple[int, ...], dtype: Any) -> None:
    """Writes images [b, h, w, c] -> logits [b, classes], for any b and several platforms.

    Args:
      path: of the file.
      logits: the function; its weights become constants.
      shape: of an image: (h, w, c).
      dtype: of the images.

    Raises:
      DataError: it cannot be written.
    """
    (batch,) = export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((batch, *shape), dtype)
    content = export.export(jax.jit(logits), platforms=PLATFORMS)(images).serialize()
    try:
        with storage.written_whole(path, "wb") as file:
            file.write(content)
    except OSError as error:
        raise DataError(f"cannot write '{path}': {error.strerror or error}") from error


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    """The outputs of a written file."""
    return np.asarray(export.deserialize(bytearray(path.read_bytes())).call(jnp.asarray(images)))
