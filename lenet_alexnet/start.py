"""What every command that computes sets before JAX starts."""

import os
import warnings
from pathlib import Path

from lenet_alexnet.errors import DataError, UsageError

# Where a launcher says how many processes it started.
LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"

HEARTBEAT_SECONDS = 30  # A process that is silent for so long ends all the others.


def join(coordinator: str | None, process_id: int | None, num_processes: int | None) -> None:
    """Makes this process one of several that train together; alone if nothing says otherwise.

    Slurm's srun and MPI say it by themselves; elsewhere all three arguments are needed.

    Args:
      coordinator: host:port of process 0.
      process_id: 0 .. num_processes - 1.
      num_processes: how many there are.

    Raises:
      UsageError: some of the three only. DataError: the others did not come.
    """
    given = {"coordinator": coordinator, "process_id": process_id, "num_processes": num_processes}
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < len(given):
        raise UsageError(f"--{missing[0]} is missing: many processes need all of --coordinator, "
                         "--process_id and --num_processes")  # fmt: skip
    launched = any(int(os.environ.get(name, "1")) > 1 for name in LAUNCHERS)
    if missing and not launched:
        return
    import jax

    try:
        jax.distributed.initialize(
            coordinator_address=coordinator,
            process_id=process_id,
            num_processes=num_processes,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())
        raise DataError(f"the processes did not find each other: {line}") from error


def set_up(*, deterministic: bool = False) -> None:
    """The compilation cache (JAX_COMPILATION_CACHE_DIR moves it) and quiet libraries.

    With `deterministic`, XLA chooses for GPUs only what gives the same bits on every run (on CPUs
    it always does).

    Raises:
      UsageError: JAX has started already, so that it is too late for that.
    """
    # A program from the cache makes XLA complain on CPU of features that are its own tuning flags,
    # a page each time. What fails comes as an exception all the same.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
