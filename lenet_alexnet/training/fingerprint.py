"""What decides a run's bits beside its config: its data, JAX's switches, the loops in C++.

Recorded in run.json, and compared when the run goes on and between the processes of one run.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lenet_alexnet import __version__
from lenet_alexnet import config as configs
from lenet_alexnet.data import Split
from lenet_alexnet.data.files import load_json
from lenet_alexnet.data.prepare.datasets import CHECKSUMS
from lenet_alexnet.data.stream import Photos
from lenet_alexnet.errors import UsageError
from lenet_alexnet.ops.cpu import native
from lenet_alexnet.runtime.console import say
from lenet_alexnet.training.experiment import Experiment

SWITCHES = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)
SUMMED_BYTES = 2**28  # of a split's images; of larger splits only every n-th image is looked at
HASHED_IMAGES = 64


def of_program(config: Any) -> dict[str, Any]:
    """What all processes of one run must have alike from the start."""
    flat = {key: value for key, value in configs.flatten(config).items() if configs.counts(key)}
    return {**flat, "version": __version__, "jax": jax.__version__, **switches()}


def facts(data: Mapping[str, Any], begun: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the bits of a run that began as `begun`, an earlier run.json, says ({}: now).

    `data` is that of `of_data`.

    "loops", if there, is whether the loops in C++ are used; it is known once all is compiled.
    """
    found: dict[str, Any] = {"data": data, "switches": switches()}
    if (loops := begun.get("loops")) is not None:
        found["loops"] = bool(loops) and native.missing() is None
    return found


def switches() -> dict[str, Any]:
    """The settings of JAX that change numbers or random streams."""
    return {name: getattr(jax.config, name) for name in SWITCHES}


def of_data(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """For each split the number of its examples and classes, and a hash of what they are.

    It takes some milliseconds: of images in memory it has all labels, the sum of each image and
    some whole images; of photos on disk the checksums that were written when they were prepared.
    """
    return {
        name: {
            "examples": len(data),
            "classes": len(data.class_names),
            "hash": _of_split(data) if isinstance(data, Split) else _of_photos(data),
        }
        for name, data in {"train": experiment.train_data, **experiment.eval_data}.items()
    }


def _of_split(data: Split) -> str:
    images = data.images[:: 1 + data.images.nbytes // SUMMED_BYTES]
    rows = images.reshape(len(images), -1)
    if rows.shape[1] % 8 == 0 and rows.flags.c_contiguous:
        rows = rows.view(np.uint64)  # Ten times as fast as byte by byte.
    some = data.images[:: 1 + len(data) // HASHED_IMAGES]
    found = hashlib.sha256(repr((data.images.shape, data.class_names)).encode())
    for array in (data.labels.astype("<i4"), rows.sum(1, dtype=np.uint64), some):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def _of_photos(data: Photos) -> str:
    listing = data.folder / CHECKSUMS
    try:
        sums = load_json(listing) if listing.exists() else {}
    except (OSError, ValueError):
        sums = {}
    parts = []
    for path, skip, take in data.parts:
        known = sums.get(path.name) if isinstance(sums, dict) else None
        parts.append((path.name, skip, take, known or path.stat().st_size))
    content = repr((data.image_shape, data.class_names, parts))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def check(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], *, allow: bool) -> None:
    """Compares what a run began with, as in run.json, with what it would go on with.

    Entries of a run by an earlier version may be absent, and are not compared.

    Args:
      folder: the run's.
      before, now: the entries "data", "switches" and "loops", see `of_data` and `switches`.
      allow: other bits are only said.

    Raises:
      UsageError: other data; or other bits, which are not allowed.
    """
    data = before.get("data") or {}
    for name, found in now.get("data", {}).items():
        if name in data and data[name] != found:
            raise UsageError(
                f"workdir '{folder}' holds a run on other data (data.{name} "
                f"{_difference(data[name], found)}): name the data that it began with, or another "
                "workdir"
            )
    if changed := "; ".join(_changed_bits(before, now)):
        text = f"the run in '{folder}' would not go on to the same bits ({changed})"
        if not allow:
            raise UsageError(f"{text}: --allow-other-bits goes on all the same")
        say(f"warning: {text}")


def _difference(before: Any, now: Mapping[str, Any]) -> str:
    for key, value in now.items():
        if not isinstance(before, dict) or before.get(key) != value:
            old = before.get(key) if isinstance(before, dict) else before
            return f"has {value} {key}, not {old}" if key != "hash" else "has other content"
    return "is not the same"


def _changed_bits(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old = before.get("switches") or {}
    for key, value in now.get("switches", {}).items():
        if key in old and old[key] != value:
            yield f"{key} {old[key]} -> {value}"
    if before.get("loops") and not now.get("loops"):
        yield f"it began with loops in C++, and {native.missing()}"


@contextlib.contextmanager
def as_begun(*begun: Mapping[str, Any]) -> Iterator[Callable[[], bool | None]]:
    """Inside, runs that began without the loops in C++ go on without them.

    Yields what tells whether they were used, see `native.noted`.

    Raises:
      UsageError: some of the runs began with them, others did not.
    """
    loops = {run.get("loops") for run in begun}
    if {True, False} <= loops:
        raise UsageError("some of these runs began with loops in C++, others without")
    without = "the run began without them" if False in loops else ""
    with native.noted(without) as used:
        yield used
