"""Settings for JAX, made before it starts."""

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime import programs

MOST_SIMULATED = 1024  # Each has its own threads.
SIMULATE = "--xla_force_host_platform_device_count"
PATIENCE = "--xla_cpu_collective_call_terminate_timeout_seconds"
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def simulate_devices(devices: int) -> None:
    """Simulates `devices` devices on the CPU; must come before JAX starts.

    Raises:
      UsageError: more than JAX can simulate in a process.
    """
    if devices > MOST_SIMULATED:
        raise UsageError(f"--devices={devices} is more than {MOST_SIMULATED}")
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {SIMULATE}={devices}"
    os.environ["XLA_FLAGS"] = flags.strip()


def leave_exchanges_to_the_watch() -> None:
    """Keeps XLA from aborting when a simulated device waits for another; must come before JAX.

    After 40 seconds, XLA would end the process with SIGABRT. Slow devices may need longer, and
    `watch` ends one that is stuck with the exit code for it.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if SIMULATE in flags and PATIENCE not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {PATIENCE}={10**6}"


def own_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def each_core_a_device() -> None:
    """For many runs in one program, each on a separate core.

    Accelerators and simulated devices stay as they are.
    """
    if SIMULATE in os.environ.get("XLA_FLAGS", ""):
        return
    import jax

    with contextlib.suppress(RuntimeError):  # JAX has started: its devices stay.
        jax.config.update("jax_num_cpu_devices", len(own_cores()))


def quieten() -> None:
    """Keeps XLA's own log off the screen; must come before JAX is imported."""
    # For a cached program, XLA on CPU prints a page about "features" that are its own tuning flags.
    # Errors are exceptions anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def set_up(*, deterministic: bool = False) -> None:
    """Sets the compilation cache (JAX_COMPILATION_CACHE_DIR moves it) and quiets libraries.

    With `deterministic`, XLA uses on GPUs only operations that give the same bits on every run, as
    it always does on CPUs.

    Raises:
      UsageError: JAX has already started, so it is too late for `deterministic`.
    """
    quieten()
    import jax

    if deterministic and not is_deterministic():
        from jax._src import xla_bridge  # No public function asks without starting JAX.

        if xla_bridge.backends_are_initialized():
            raise UsageError(f"too late for --deterministic: set XLA_FLAGS={DETERMINISTIC} before")
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()
    # A program compiled for one core uses one core; JAX's cache ignores the number of cores.
    folder = _cache() / "lenet_alexnet" / f"xla_{len(own_cores())}_cores"
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(folder))
    if not os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    programs.remove_damaged(Path(os.environ.get("JAX_COMPILATION_CACHE_DIR") or folder))
    warnings.filterwarnings("ignore", module="orbax|tensorflow_datasets|etils")


def is_deterministic() -> bool:
    """Whether `set_up` was asked for the same bits on every run."""
    return DETERMINISTIC in os.environ.get("XLA_FLAGS", "")


def cache_folder(name: str) -> Path:
    """A folder of this user beside the cache of compiled programs; it may not be there yet."""
    import jax

    config: Any = jax.config  # whose attributes the type checker does not see
    cache = Path(
        config.jax_compilation_cache_dir or _cache() / "lenet_alexnet" / "xla"
    ).expanduser()
    # Our cache has a folder for each number of cores, on which nothing else depends.
    return (
        cache.parent if cache.parent.name == "lenet_alexnet" else cache
    ) / f"{name}-{os.geteuid()}"


def _cache() -> Path:
    """The folder of caches; without a home directory, a temporary one."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    except RuntimeError:  # HOME is not set, and the user has no entry in passwd.
        return _passing()


@functools.cache
def _passing() -> Path:
    folder = tempfile.mkdtemp(prefix="lenet_alexnet_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
