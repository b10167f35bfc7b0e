"""Exports a run's network to a file for other programs, and compares its outputs with ours."""

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet.errors import DataError, UsageError, nearest
from lenet_alexnet.exchange import plan, preparation
from lenet_alexnet.inference import card
from lenet_alexnet.inference.model_file import open_trained
from lenet_alexnet.inference.open_run import TrainedRun
from lenet_alexnet.inference.recipe import Recipe, as_metadata
from lenet_alexnet.models import defaults
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.runtime import storage
from lenet_alexnet.training.scoring import make_scores
from lenet_alexnet.weights import files, names, ours, torch_writer

NEEDS = {"onnx": ("onnx", "onnxruntime"), "stablehlo": ("flatbuffers",)}  # extras of that name
SUFFIXES = {
    "safetensors": ".safetensors",
    "torch": ".pth",
    "caffe-npy": ".npz",
    "onnx": ".onnx",
    "stablehlo": ".stablehlo",
}
PREPARING = ("onnx", "stablehlo")  # formats of programs, which can hold the preprocessing
IMAGES = 3  # that the outputs are compared on
BOUND = 1e-5  # of the largest difference, relative to the largest output


class Subject(NamedTuple):
    """What is exported.

    Attributes:
      run: the run.
      place: its folder or file.
      model: its network in plain operations.
      images: bytes [b, h, w, c] in the form of the run's stored images.
      inputs: the same, normalised, as the network takes them.
      logits: our outputs.
      prepared: whether the file takes bytes.
    """

    run: TrainedRun
    place: Path
    model: nn.Module
    images: np.ndarray
    inputs: np.ndarray
    logits: np.ndarray
    prepared: bool

    @property
    def given(self) -> np.ndarray:
        """What the file takes."""
        return self.images if self.prepared else self.inputs


def export(
    place: Path,
    form: str,
    to: str = "",
    *,
    with_preprocessing: bool = False,
    checkpoint: str = "auto",
    data_dir: str = "",
) -> list[str]:
    """Writes a run's network to a file, compares its outputs with ours, and moves it into place.

    Args:
      place: a run's folder, or a file of ours.
      form: one of `SUFFIXES`.
      to: the file; "": the run's name and the format's suffix, in the current folder.
      with_preprocessing: the file takes bytes 0..255 in place of normalised images.
      checkpoint: best | last | auto, see `evaluate.evaluate_workdirs`.
      data_dir: where the run's data is now; a card needs it, see `card.make`.

    Returns lines: the file, what it takes, and the largest difference.

    Raises:
      UsageError: an unknown format, one that the network or the preprocessing has no place in, or
        a package is missing. DataError: outputs differ by more than `BOUND`; nothing is left.
    """
    if form not in SUFFIXES:
        raise UsageError(f"unknown --format={form}: {nearest(form, SUFFIXES)}")
    if with_preprocessing and form not in PREPARING:
        raise UsageError(f"--format={form} holds weights only: {' and '.join(PREPARING)} hold more")
    if missing := [name for name in NEEDS.get(form, ()) if not importlib.util.find_spec(name)]:
        raise UsageError(f"--format={form} needs {missing[0]}: pip install 'lenet-alexnet[{form}]'")
    name = place.stem if place.is_file() else place.resolve().name
    target = Path(to or f"{name}{SUFFIXES[form]}")
    if target.is_dir():
        raise UsageError(f"'{target}' is a folder: name a file with --to")
    subject = _subject(
        place, open_trained(place, checkpoint, data_dir), prepared=with_preprocessing
    )
    aside = target.with_name(f".{target.name}.new{SUFFIXES[form]}")
    try:
        reader, outputs = WRITERS[form](subject, aside)
        difference = _difference(outputs, subject.logits)
        if difference > BOUND:
            raise DataError(
                f"not written: the outputs of {reader} differ from ours by {difference:.1e} of the "
                f"largest, more than {BOUND:.0e}"
            )
        storage.settle(aside, target)
    except OSError as error:
        raise DataError(f"cannot write '{target}': {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)
    return [
        f"{target}: {target.stat().st_size / 1e6:.1f} MB",
        *_takes(form, subject),
        f"largest difference from our outputs: {difference:.1e} of the largest output, by {reader}",
    ]


def _subject(place: Path, run: TrainedRun, *, prepared: bool) -> Subject:
    """The run with a few random images, and its outputs for them."""
    plain: dict[str, Any] = (
        {"conv_form": "plain"} if "conv_form" in defaults(run.config.model.name) else {}
    )
    model, data = run.model.clone(**plain), run.config.data
    shape = (IMAGES, data.image_size, data.image_size, data.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    inputs = np.asarray(run.preprocess(jnp.asarray(images)))
    logits = np.asarray(jax.jit(make_scores(model, run.preprocess))(run.variables, images))
    return Subject(run, place, model, images, inputs, logits, prepared)


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, relative to the largest output; infinite for other shapes or NaN."""
    if found.shape != wanted.shape:
        return np.inf
    difference = float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30))
    return difference if np.isfinite(difference) else np.inf


def _takes(form: str, subject: Subject) -> list[str]:
    if form not in PREPARING:
        return ["weights only" + (", with the preprocessing as metadata" * (form == "safetensors"))]
    shape = ", ".join(map(str, subject.given.shape[1:]))
    kind = "bytes 0..255" if subject.prepared else "normalised floats"
    return [f"images [b, {shape}] as {kind}; any b"]


def _weights(
    style: names.Style, write: Callable[[Path, Any], None], subject: Subject, path: Path
) -> tuple[str, np.ndarray]:
    """Writes weights in a style; they are read again, compared, and give outputs again."""
    variables = subject.run.variables
    write(path, names.from_variables(subject.model, variables, style))
    again = names.to_variables(files.read(path), subject.model, variables)
    same = jax.tree.map(lambda a, b: np.array_equal(np.asarray(a), b), variables, again)
    if not jax.tree.all(same):
        raise DataError("not written: the weights read again differ")
    return "our reader", np.asarray(jax.jit(subject.model.apply)(again, subject.inputs))


def _ours(subject: Subject, path: Path) -> tuple[str, np.ndarray]:
    run = subject.run
    metadata, more = as_metadata(Recipe(run.config, run.class_names, run.statistics))
    metadata["card"] = run.card or card.make(subject.place, run)

    def write(path: Path, arrays: Any) -> None:
        ours.write(path, arrays, metadata, more=more)

    return _weights("ours", write, subject, path)


def _torch(subject: Subject, path: Path) -> tuple[str, np.ndarray]:
    found = _weights("torchvision", torch_writer.write, subject, path)
    if not importlib.util.find_spec("torch"):
        return found
    from lenet_alexnet.exchange import in_torch

    model = cast(AlexNet, subject.model)  # No other network has names in torch's files.
    return "torch", in_torch.alexnet(model, path, subject.inputs)


def _write_npz(path: Path, arrays: Any) -> None:
    with storage.written_whole(path, "wb") as file:
        np.savez(file, **arrays)


def _onnx(subject: Subject, path: Path) -> tuple[str, np.ndarray]:
    import onnxruntime

    from lenet_alexnet.exchange import onnx_graph

    run = subject.run
    prepare = preparation.measure(run.preprocess, run.config.data, subject.model.input_shape)
    onnx_graph.write(
        path,
        plan.make(subject.model, run.variables),
        subject.given.shape[1:],
        prepare if subject.prepared else None,
        subject.logits.shape[-1],
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {onnx_graph.IMAGES: subject.given})
    return "onnxruntime", outputs


def _stablehlo(subject: Subject, path: Path) -> tuple[str, np.ndarray]:
    from lenet_alexnet.exchange import stablehlo

    run = subject.run
    scores = make_scores(subject.model, run.preprocess)
    apply: Callable[..., Any] = scores if subject.prepared else subject.model.apply
    logits = partial(apply, run.variables)
    stablehlo.write(path, logits, subject.given.shape[1:], subject.given.dtype)
    return "jax.export", stablehlo.logits(path, subject.given)


WRITERS: dict[str, Callable[[Subject, Path], tuple[str, np.ndarray]]] = {
    "safetensors": _ours,
    "torch": _torch,
    "caffe-npy": partial(_weights, "caffe-npy", _write_npz),
    "onnx": _onnx,
    "stablehlo": _stablehlo,
}
