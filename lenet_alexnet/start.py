"""What every command that computes sets before JAX starts."""

import os
import warnings
from pathlib import Path


def set_up() -> None:
    """The compilation cache (JAX_COMPILATION_CACHE_DIR moves it) and quiet libraries."""
    import jax

    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    folder = Path(cache).expanduser() / "lenet_alexnet" / "xla"
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    warnings.filterwarnings("ignore", module="orbax|tensorflow_datasets|etils")
