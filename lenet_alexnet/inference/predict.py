"""Classifying image files with a trained network."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.inference.model_file import open_trained
from lenet_alexnet.inference.read_images import prepare, reads_digits
from lenet_alexnet.training.scoring import make_scores

INVERT = {"auto": None, "yes": True, "no": False}  # whether the ink is dark
BATCH = 64  # images that the network gets at once
DOUBTFUL = 0.9  # Below this probability, the answer for a digit is reported as doubtful.


def predict(
    place: Path,
    files: list[str],
    *,
    top: int = 5,
    invert: str = "auto",
    checkpoint: str = "auto",
    show: str = "",
) -> list[dict[str, Any]]:
    """The `top` classes of each image with their probabilities; for digits, also warnings.

    Args:
      place: a run's folder, or a file of ours.
      files: PNG, JPEG ...; grey or colour, any size.
      invert: yes: dark ink on white paper, while the data has light ink on black; auto: by the ink
        and the paper around it.
      checkpoint: best | last | auto, see `evaluate.evaluate_workdirs`.
      show: a PNG file for the network's inputs, side by side; "": none.
    """
    if invert not in INVERT:
        raise UsageError(f"unknown --invert={invert}: auto, yes or no")
    if show and Path(show).suffix.lower() != ".png":
        raise UsageError(f"--show={show} is not the name of a PNG file")
    run = open_trained(place, checkpoint)
    prepared = [prepare(file, run, INVERT[invert]) for file in files]
    inputs = np.stack([image for image, _ in prepared])
    if show:
        _save(inputs, show)
    scores = jax.jit(make_scores(run.model, run.preprocess))
    parts = (inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH))
    logits = np.concatenate([np.asarray(scores(run.variables, part)) for part in parts])
    # By the scores, as small probabilities are rounded to 0. Ties: the lower number first.
    order = np.argsort(-logits, axis=1, kind="stable")
    probabilities = np.asarray(jax.nn.softmax(logits))
    results = []
    for file, (_, doubts), row, best in zip(
        files, prepared, probabilities, order[:, :top], strict=True
    ):
        classes = [
            {"class": run.output_names[i], "index": int(i), "probability": float(row[i])}
            for i in best
        ]
        warnings = [f"this may be no digit: {doubt}" for doubt in doubts]
        if reads_digits(run) and row.max() < DOUBTFUL:
            warnings.append(f"the answer is doubtful: {100 * row.max():.1f} %")
        results.append({"file": str(file), "predictions": classes, "warnings": warnings})
    return results


def _save(inputs: np.ndarray, path: str) -> None:
    """Images [n, h, w, c] side by side in rows, small ones enlarged without smoothing."""
    number, height, width, channels = inputs.shape
    columns = min(number, 8)
    gap, larger = 1, max(1, 224 // height)
    rows = -(-number // columns)
    sheet = np.full((rows * (height + gap), columns * (width + gap), channels), 128, np.uint8)
    for i, image in enumerate(inputs):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    sheet = sheet[:-gap, :-gap].repeat(larger, 0).repeat(larger, 1)
    try:
        Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(path, "PNG")
    except OSError as error:
        raise DataError(f"cannot write '{path}': {error.strerror or error}") from error
