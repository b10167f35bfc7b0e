"""A description of the machine, and the two rates that limit a training step."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lenet_alexnet import __version__
from lenet_alexnet.bench.measure import Subject
from lenet_alexnet.models import DTYPES
from lenet_alexnet.ops.cpu import native
from lenet_alexnet.runs.checkout import checkout
from lenet_alexnet.runtime.backend import own_cores

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")


def describe() -> dict[str, Any]:
    """The machine, the versions, the commit and the command line, for JSON."""
    return {
        "machine": {
            "cpu": _cpu(),
            "cores": len(own_cores()),
            "device": jax.devices()[0].device_kind,
            "backend": jax.default_backend(),
            "native": native.ensure_compiled() or "compiled",
        },
        "versions": {"lenet-alexnet": __version__, "python": platform.python_version(), **_found()},
        **checkout(),
        "command": ["lenet-alexnet", *sys.argv[1:]],
    }


def load() -> float | None:
    """The mean number of threads, of all users, that wanted a core in the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _found() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def limits(precision: str, *, size: int = 0, copied: int = 1 << 28) -> list[Subject]:
    """The rates of JAX's matrix products and copies.

    Args:
      precision: of the factors.
      size: side of the square matrices; 0: 2048 on CPU, 8192 elsewhere.
      copied: bytes of the array that is read and written.
    """
    size = size or (2048 if jax.default_backend() == "cpu" else 8192)
    factor = jnp.ones((size, size), DTYPES[precision]) / size
    product = jax.jit(lambda x, y: x @ y)
    # In place, so that no memory is allocated.
    copy = jax.jit(lambda x: x + 1, donate_argnums=0)
    return [
        Subject("GEMM", chain(lambda x: product(x, factor), factor), 2 * size**3, "FLOP"),
        Subject("copy", chain(copy, jnp.zeros(copied // 4, jnp.float32)), 2 * copied, "bytes"),
    ]


def chain(step: Callable[[Any], Any], start: Any) -> Callable[[int], None]:
    """Returns run(count): applies `step` to its last result `count` times and waits."""
    latest = start

    def run(count: int) -> None:
        nonlocal latest
        for _ in range(count):
            latest = step(latest)
        jax.block_until_ready(latest)

    return run
