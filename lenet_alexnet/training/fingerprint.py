"""What decides a run's bits besides its config: its data, JAX's switches, the loops in C++.

It is recorded in run.json, and compared when a run resumes and between the processes of one run.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from lenet_alexnet import __version__
from lenet_alexnet import config as configs
from lenet_alexnet.errors import UsageError
from lenet_alexnet.ops import ConvForm
from lenet_alexnet.ops.cpu import native
from lenet_alexnet.runtime.console import say
from lenet_alexnet.training import conv_form
from lenet_alexnet.training.experiment import Experiment
from lenet_alexnet.training.matmul_precision import float32_products

KEPT = ("init_from", "ended")  # of a run that resumes; see `warm_start` and `longer`
SWITCHES = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)


def of_program(config: Any) -> dict[str, Any]:
    """What must be equal in all processes of one run from the start."""
    flat = {key: value for key, value in configs.flatten(config).items() if configs.in_program(key)}
    return {**flat, "version": __version__, "jax": jax.__version__, **switches()}


def facts(
    data: Mapping[str, Any], begun: Mapping[str, Any], form: ConvForm = "auto"
) -> dict[str, Any]:
    """What decides a run's bits; `begun` is its earlier run.json, {} for a new run.

    `data` is the result of `of_data`, `form` that of `conv_form.choose`.

    "loops", if present, is whether the loops in C++ are used; it is known after compiling.
    """
    found: dict[str, Any] = {"data": data, "switches": switches()}
    found["float32_products"] = float32_products()
    found |= {name: begun[name] for name in KEPT if name in begun}
    found |= {conv_form.RECORDED: form} if form != "auto" else {}
    if (loops := begun.get("loops")) is not None:
        found["loops"] = bool(loops) and native.compile_loops() is None
    return found


def switches() -> dict[str, Any]:
    """The settings of JAX that change numbers or random streams."""
    return {name: getattr(jax.config, name) for name in SWITCHES}


def of_data(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """For each split the number of examples and of classes, and a hash of its content."""
    return {
        name: {
            "examples": len(data),
            "classes": len(data.class_names),
            "hash": data.fingerprint(),
        }
        for name, data in {"train": experiment.train_data, **experiment.eval_data}.items()
    }


def check(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], *, allow: bool) -> None:
    """Compares what a run began with, as in run.json, with what it would resume with.

    Entries that an earlier version did not write are not compared.

    Args:
      folder: the run's.
      before, now: the entries "data", "switches", "loops" and "init_from", see `facts`.
      allow: other bits are only a warning.

    Raises:
      UsageError: other data or first weights; or other bits, if these are not allowed.
    """
    data = before.get("data") or {}
    for name, found in now.get("data", {}).items():
        if name in data and data[name] != found:
            raise UsageError(
                f"workdir '{folder}' holds a run on other data (data.{name} "
                f"{_difference(data[name], found)}): name the data that it began with, or another "
                "workdir"
            )
    weights = [facts.get("init_from") or {} for facts in (before, now)]
    if all(weights) and weights[0].get("sha256") != weights[1]["sha256"]:
        raise UsageError(
            f"workdir '{folder}' holds a run from other weights than those that train.init_from "
            f"'{weights[1]['path']}' has now: name another workdir"
        )
    if changed := "; ".join(_changed_bits(before, now)):
        text = f"the run in '{folder}' would not resume to the same bits ({changed})"
        if not allow:
            raise UsageError(f"{text}: --allow-other-bits resumes it anyway")
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
        yield f"it began with loops in C++, and {native.compile_loops()}"


@contextlib.contextmanager
def as_begun(*begun: Mapping[str, Any]) -> Iterator[Callable[[], bool | None]]:
    """Inside, runs that began without the loops in C++ resume without them.

    Yields a function that returns whether they were used, see `native.noted`.

    Raises:
      UsageError: some of the runs began with them, others did not.
    """
    loops = {run.get("loops") for run in begun}
    if {True, False} <= loops:
        raise UsageError("some of these runs began with loops in C++, others without")
    without = "the run began without them" if False in loops else ""
    with native.noted(without) as used:
        yield used
