"""What every command that computes sets before JAX starts."""

import os
import warnings
from pathlib import Path

from lenet_alexnet.errors import UsageError

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def set_up(*, deterministic: bool = False) -> None:
    """The compilation cache (JAX_COMPILATION_CACHE_DIR moves it) and quiet libraries.

    With `deterministic`, XLA chooses for GPUs only what gives the same bits on every run (on CPUs
    it always does).

    Raises:
      UsageError: JAX has started already, so that it is too late for that.
    """
    import jax

    if deterministic and DETERMINISTIC not in os.environ.get("XLA_FLAGS", ""):
        from jax._src import xla_bridge  # There is no public way to ask without starting it.

        if xla_bridge.backends_are_initialized():
            raise UsageError(f"too late for --deterministic: set XLA_FLAGS={DETERMINISTIC} before")
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    folder = Path(cache).expanduser() / "lenet_alexnet" / "xla"
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    warnings.filterwarnings("ignore", module="orbax|tensorflow_datasets|etils")
