"""The form of a network's strided convolutions on GPUs: measured once, and kept in the cache.

AlexNet's conv1 has three channels, which fill a GPU's matrix units badly; `folded` makes blocks of
pixels channels, see `ops.conv2d`. Which form is faster depends on the device and on the shape. XLA
estimates the same bytes for both, so without a measurement it is `auto`.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lenet_alexnet import ops
from lenet_alexnet.errors import UsageError
from lenet_alexnet.models.alexnet.layers import Conv
from lenet_alexnet.ops import ConvForm
from lenet_alexnet.runtime import backend, heartbeat, processes, storage, target
from lenet_alexnet.runtime.console import say
from lenet_alexnet.training.builders import build_model
from lenet_alexnet.training.matmul_precision import matmul_precision

FORMS: tuple[ConvForm, ...] = ("auto", "folded")
FASTER = 0.97  # of the time of `auto`: a smaller gain may be noise
ROUNDS, SECONDS = 7, 0.02  # of each form, in turns
RECORDED = "conv_form"  # in run.json, if it is not "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strided:
    """A convolution with a stride, with all that decides how long it takes on a device."""

    shape: tuple[int, ...]  # of the maps: [b, h, w, c]
    kernels: tuple[int, ...]  # [k, k, c, f]
    stride: int
    padding: ops.Padding
    dtype: str


def choose(config: Any, begun: Mapping[str, Any], devices: int = 0) -> ConvForm:
    """The form for `builders.build_model`: a begun run's, else the faster one on this device.

    Args:
      config: of the run.
      begun: its run.json; {} for a new run.
      devices: how many share each batch; 0: all.

    Raises:
      UsageError: run.json has an unknown form.
    """
    if begun:
        return of_run(begun)
    if target.platform() == "cpu" or backend.is_deterministic():
        return "auto"
    form = processes.from_first(RECORDED, lambda: _fastest(config, devices or jax.device_count()))
    assert form in FORMS
    return form


def of_run(begun: Mapping[str, Any]) -> ConvForm:
    """The form of a run by its run.json; on CPUs always `auto`, which chooses among other forms.

    Raises:
      UsageError: an unknown form.
    """
    form = begun.get(RECORDED) or "auto"
    if form not in FORMS:
        raise UsageError(f"unknown {RECORDED} '{form!s:.40}' in run.json: one of {FORMS}")
    return "auto" if target.platform() == "cpu" else form


def strided(model: nn.Module, batch: int) -> list[Strided]:
    """The convolutions with a stride that a batch goes through; all towers together."""
    found = []

    def note(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        layer = context.module
        if isinstance(layer, Conv) and layer.stride > 1 and context.method_name == "__call__":
            shape, size = args[0].shape, layer.kernel_size
            found.append(
                Strided(
                    shape=shape,
                    kernels=(size, size, shape[-1], layer.features),
                    stride=layer.stride,
                    padding=layer.padding,
                    dtype=jnp.dtype(layer.dtype).name,
                )
            )
        return call(*args, **kwargs)

    images = jax.ShapeDtypeStruct((batch, *model.input_shape), jnp.float32)
    with nn.intercept_methods(note):
        jax.eval_shape(model.init, jax.random.key(0), images)
    return found


def _fastest(config: Any, devices: int) -> ConvForm:
    try:
        model = build_model(config)
    except UsageError:  # Building the run names this mistake together with all others.
        return "auto"
    if getattr(model, "conv_form", "") != "auto":  # The config sets it, or there is none.
        return "auto"
    batch = config.train.batch_size // config.train.accumulate // devices
    with matmul_precision(config):
        times = [_timed(layer) for layer in strided(model, max(1, batch))]
    if not times:
        return "auto"
    auto, folded = (sum(each[form] for each in times) for form in FORMS)
    faster = folded < FASTER * auto
    kind = jax.devices()[0].device_kind
    say(
        f"convolutions with a stride: {folded / auto:.2f} of the time as 'folded' on {kind}, "
        f"so the form is '{FORMS[faster]}'"
    )
    return FORMS[faster]


def _timed(layer: Strided) -> dict[str, float]:
    """Seconds of each form; from the cache if it was measured on such a device before."""
    what = {
        "device": jax.devices()[0].device_kind,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "matmul_precision": str(jax.config.jax_default_matmul_precision),  # type: ignore[attr-defined]
        **dataclasses.asdict(layer),
    }
    text = json.dumps(what)
    path = backend.cache_folder("conv_forms") / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    if (kept := _read(path)) is not None:
        return kept
    seconds = measure(layer)
    _write(path, json.dumps(json.loads(text) | {"seconds": seconds}, indent=1) + "\n")
    return seconds


def _read(path: Path) -> dict[str, float] | None:
    """The seconds that a file of the cache has; None if it is missing or broken."""
    try:
        with storage.open_here(path, "r") as file:
            seconds = json.load(file)["seconds"]
        found: dict[str, float] = {form: float(seconds[form]) for form in FORMS}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if all(0 < value < math.inf for value in found.values()) else None


def _write(path: Path, text: str) -> None:
    """Keeps a measurement; without room or permission, it is made again next time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # Others may write it, too.
            new = Path(folder) / path.name
            new.write_text(text)
            storage.settle(new, path)


@heartbeat.during("compilation")
def measure(layer: Strided) -> dict[str, float]:
    """The median seconds of a convolution and its kernels' gradient on this device, by form."""
    dtype, key = jnp.dtype(layer.dtype), jax.random.key(0)
    x = jax.jit(lambda: jax.random.normal(key, layer.shape, dtype))()
    kernels = jax.jit(lambda: jax.random.normal(key, layer.kernels, dtype))()

    def compiled(form: ConvForm) -> Callable[..., Any]:
        def value(kernels: jax.Array, x: jax.Array) -> jax.Array:
            out = ops.conv2d(x, kernels, form, stride=layer.stride, padding=layer.padding)
            return jnp.square(ops.nhwc(out).astype(jnp.float32)).sum()

        return jax.jit(jax.value_and_grad(value)).lower(kernels, x).compile()

    def seconds(program: Callable[..., Any], count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            result = program(kernels, x)
        jax.block_until_ready(result)
        return (time.perf_counter() - start) / count

    programs = {form: compiled(form) for form in FORMS}
    counts = {}
    for form, program in programs.items():
        seconds(program, 1)  # The first call loads it.
        counts[form] = max(1, math.ceil(SECONDS / max(seconds(program, 1), 1e-6)))
    rounds = [
        {form: seconds(programs[form], counts[form]) for form in FORMS} for _ in range(ROUNDS)
    ]
    return {form: statistics.median(each[form] for each in rounds) for form in FORMS}
