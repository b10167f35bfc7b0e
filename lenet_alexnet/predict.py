"""Classifying image files with a trained run."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from lenet_alexnet import restore
from lenet_alexnet.data import folder, images, pixels
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.step import forward

INVERT = ("auto", "yes", "no")
GLYPH, SIDE = 20, 28  # MNIST: a 20x20 glyph centred by its mass in 28x28 (LeCun et al. 1998, III.A)


def predict(
    workdir: Path, files: list[str], *, top: int = 5, invert: str = "auto", checkpoint: str = "auto"
) -> list[dict[str, Any]]:
    """The `top` classes of each image with their probabilities.

    Args:
      workdir: a run's folder.
      files: PNG, JPEG ...; grey or colour, any size.
      invert: yes for dark ink on white paper where the data has light ink on black; auto looks
        at the border.
      checkpoint: best | last | auto, see `evaluate.evaluate_workdirs`.
    """
    if invert not in INVERT:
        raise UsageError(f"unknown --invert={invert}: auto, yes or no")
    run = restore.open_run(workdir, checkpoint)
    data = run.config.data
    inputs = np.stack([_read(file, data, invert) for file in files])
    logits = forward(run.model, run.variables, run.preprocess(jnp.asarray(inputs), None))
    probabilities = np.asarray(jax.nn.softmax(logits))
    results = []
    for file, row in zip(files, probabilities, strict=True):
        best = np.argsort(-row)[:top]
        classes = [
            {"class": run.output_names[i], "index": int(i), "probability": float(row[i])}
            for i in best
        ]
        results.append({"file": str(file), "predictions": classes})
    return results


def _read(file: str, data: Any, invert: str) -> np.ndarray:
    if data.channels == 1 and data.image_size == SIDE:
        return digit(file, invert)
    if "photo" in data:  # Just as the training photos were prepared.
        return _photo(file, data.image_size)
    image = folder.read_image(file, data.image_size, data.channels)
    return 255 - image if invert == "yes" else image


def _photo(file: str, size: int) -> np.ndarray:
    try:
        return pixels.standardise(Path(file).read_bytes(), size, file)[0]
    except (OSError, pixels.UnusableError) as error:
        raise DataError(f"cannot read '{file}' as an image: {error}") from error


def digit(file: str | Path, invert: str) -> np.ndarray:
    """A drawn or photographed digit as MNIST has them: light on black, [28, 28, 1] bytes.

    An image of just 28x28 is taken as it is (but for the polarity); any other is cut to its ink,
    scaled to fit 20x20 and centred by its mass.
    """
    pixels = np.asarray(images.read(file, 1))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if invert == "yes" or (invert == "auto" and np.median(border) > 127):
        pixels = 255 - pixels
    if pixels.shape == (SIDE, SIDE):
        return pixels[..., None]
    low, high = int(pixels.min()), int(pixels.max())
    ink = (pixels.astype(np.float32) - low) / max(high - low, 1)
    ink[ink < 0.3] = 0  # Paper is never quite even.
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return np.zeros((SIDE, SIDE, 1), np.uint8)
    glyph = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = GLYPH / max(glyph.shape)
    height, width = (max(1, round(side * scale)) for side in glyph.shape)
    image = Image.fromarray((255 * glyph).astype(np.uint8))
    small = np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float32)
    mass = max(float(small.sum()), 1.0)
    centre_y = float((small.sum(1) * np.arange(height)).sum()) / mass
    centre_x = float((small.sum(0) * np.arange(width)).sum()) / mass
    top = int(np.clip(round((SIDE - 1) / 2 - centre_y), 0, SIDE - height))
    left = int(np.clip(round((SIDE - 1) / 2 - centre_x), 0, SIDE - width))
    out = np.zeros((SIDE, SIDE, 1), np.uint8)
    out[top : top + height, left : left + width, 0] = small.astype(np.uint8)
    return out
