"""Writes what the layers of a trained network answer to image files."""

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.inference import layers
from lenet_alexnet.inference.open_run import TrainedRun
from lenet_alexnet.inference.read_images import prepare
from lenet_alexnet.runtime import storage

BATCH = 32  # images that are in memory at a time
FILES, CLASSES, SCORES = "files", "classes", "logits"
Batches = Iterator[dict[str, np.ndarray]]


def write(run: TrainedRun, files: Sequence[str], wanted: Sequence[str], out: Path) -> list[str]:
    """Writes the outputs of layers for image files to an .npz or .h5 file, whole or not at all.

    The file has an array [images, h, w, c] or [images, n] for each layer, under its name as given;
    "logits" [images, classes]; "files" and "classes", their names.

    Args:
      run: the trained network.
      files: PNG, JPEG ...; grey or colour, any size.
      wanted: names of layers, the papers' or torchvision's (see `layers.aliases`).
      out: a new or old file.

    Returns a line for each layer: its name and shape.

    Raises:
      UsageError: an unknown layer, a name given twice, or another suffix. DataError: an image
        cannot be read, or `out` cannot be written.
    """
    if out.suffix not in WRITERS:
        raise UsageError(f"--out={out} ends in neither {' nor '.join(WRITERS)}")
    if len(set(wanted)) < len(wanted):
        raise UsageError(f"--layers={','.join(wanted)} names a layer twice")
    layers.check(run.model, wanted)
    if missing := [file for file in files if not Path(file).exists()]:
        raise DataError(f"no file '{missing[0]}'")
    if not out.parent.is_dir():
        raise DataError(f"cannot write '{out}': '{out.parent}' is no folder")
    function, shapes = _function(run, wanted)
    names = {
        FILES: np.asarray(files, dtype=object),
        CLASSES: np.asarray(run.output_names, dtype=object),
    }
    try:
        with storage.written_whole(out, "w+b") as file:
            WRITERS[out.suffix](file, names, shapes, len(files), _batches(run, files, function))
    except OSError as error:
        raise DataError(f"cannot write '{out}': {error.strerror or error}") from error
    return [f"{name}: {'x'.join(map(str, (len(files), *s)))}" for name, s in shapes.items()]


def _function(
    run: TrainedRun, wanted: Sequence[str]
) -> tuple[Callable[[Any], dict[str, Any]], dict[str, tuple[int, ...]]]:
    """Images -> the outputs of layers, compiled; and each output's shape for one image."""
    data, variables = run.config.data, jax.device_put(run.variables)
    model = run.model.clone(dtype=jnp.float32)  # as in evaluation

    def outputs(variables: Any, images: Any) -> dict[str, Any]:
        inputs = run.preprocess(images, None)
        found = layers.outputs(model, variables, inputs, wanted)
        return {**found, SCORES: model.apply(variables, inputs)}

    blank = jnp.zeros((BATCH, data.image_size, data.image_size, data.channels), jnp.uint8)
    found = jax.eval_shape(outputs, variables, blank)
    program = jax.jit(outputs)
    shapes = {name: found[name].shape[1:] for name in (*wanted, SCORES)}
    return lambda images: program(variables, images), shapes


def _batches(
    run: TrainedRun, files: Sequence[str], function: Callable[[Any], dict[str, Any]]
) -> Batches:
    for start in range(0, len(files), BATCH):
        images = np.stack([prepare(file, run)[0] for file in files[start : start + BATCH]])
        # The last batch repeats an image, so that one program fits all.
        padded = np.pad(images, ((0, BATCH - len(images)), *[(0, 0)] * 3), mode="edge")
        found = jax.device_get(function(jnp.asarray(padded)))
        yield {name: value[: len(images)] for name, value in found.items()}


def _write_npz(
    file: IO[bytes],
    names: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, ...]],
    count: int,
    batches: Batches,
) -> None:
    """Each array in a temporary file, then all of them in one archive."""
    with tempfile.TemporaryDirectory(dir=Path(file.name).parent) as folder:
        paths = {name: Path(folder) / str(i) for i, name in enumerate(shapes)}
        opened = {
            name: np.lib.format.open_memmap(
                paths[name], mode="w+", dtype=np.float32, shape=(count, *shape)
            )
            for name, shape in shapes.items()
        }
        _fill(opened, batches)
        for array in opened.values():
            array.flush()
        with zipfile.ZipFile(file, "w") as archive:
            for name, path in paths.items():
                archive.write(path, f"{name}.npy")
            for name, texts in names.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, texts.astype(str), allow_pickle=False)


def _write_h5(
    file: IO[bytes],
    names: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, ...]],
    count: int,
    batches: Batches,
) -> None:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise UsageError(
            "an .h5 file needs h5py: pip install 'lenet-alexnet[h5]', or name an .npz file"
        ) from error
    with h5py.File(file, "w") as archive:
        for name, array in names.items():
            archive.create_dataset(name, data=array, dtype=h5py.string_dtype())
        opened = {
            name: archive.create_dataset(name, (count, *shape), np.float32)
            for name, shape in shapes.items()
        }
        _fill(opened, batches)


WRITERS = {".npz": _write_npz, ".h5": _write_h5}


def _fill(arrays: dict[str, Any], batches: Batches) -> None:
    start = 0
    for batch in batches:
        for name, array in arrays.items():
            end = start + len(batch[name])
            array[start:end] = batch[name]
        start = end
