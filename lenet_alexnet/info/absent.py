"""GPUs that are not there, for which XLA compiles programs (jax.experimental.topologies)."""

import importlib.util
import os
from pathlib import Path
from typing import Any

from lenet_alexnet.errors import UsageError, nearest

# What XLA must know of a device: a GpuTargetConfigProto in text form.
TARGETS = {path.stem: path for path in sorted((Path(__file__).parent / "targets").glob("*.txtpb"))}
PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin")
INSTALL = "pip install 'lenet-alexnet[cuda13]'"


def require(name: str) -> None:
    """Prepares JAX, which must not have started, for compiling without the device.

    Raises:
      UsageError: the device is unknown, or JAX's plugin for it is not installed.
    """
    if name not in TARGETS:
        raise UsageError(f"--for={name}: {nearest(name, TARGETS)}")
    if not has_plugin():
        raise UsageError(f"--for={name} needs JAX's plugin for CUDA: {INSTALL}")
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"


def has_plugin() -> bool:
    """Whether a plugin for CUDA is installed."""
    return any(importlib.util.find_spec(name) for name in PLUGINS)


def devices(name: str, count: int) -> list[Any]:
    """Stand-ins for `count` devices of a kind in `TARGETS`, on one machine."""
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(
        platform="cuda",
        topology_name=name,
        target_config=TARGETS[name].read_text(),
        topology=f"1x1x{count}",
    )
    return list(topology.devices)
