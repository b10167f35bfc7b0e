"""What every command that computes sets before JAX starts."""

import atexit
import contextlib
import functools
import itertools
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lenet_alexnet.errors import DataError, Diverged, Interrupted, LenetAlexnetError, UsageError
from lenet_alexnet.runtime import unexpected

# Where a launcher says how many processes it started.
LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
MOST_IMAGINED = 1024  # Each has threads of its own.
SIMULATE = "--xla_force_host_platform_device_count"
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"

FAILED = "lenet_alexnet/failed"  # where a process says why it ends
AGREED = "lenet_alexnet/agreed"  # and where what it decides by
AGREE_SECONDS = 1800  # Compiling may take long. A process that ends meanwhile ends all.
_TURNS = itertools.count()  # the same in all processes, as all call `agree` in one order
_ENDING = threading.Lock()
HEARTBEAT_SECONDS = 30  # A process that is silent for so long ends all the others.


class Differ(UsageError):
    """The processes of one run were not started with the same config, data or machine."""


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
    if not missing:
        _check_address(str(coordinator))
        if not 0 <= (process_id or 0) < (num_processes or 0):
            raise UsageError(f"--process_id={process_id} is not one of 0..{num_processes}-1")
    launched = any(int(os.environ.get(name, "1")) > 1 for name in LAUNCHERS)
    if missing and not launched:
        return
    import jax

    # It takes SIGTERM for itself; ours is agreed on between two steps.
    jax.config.update("jax_enable_preemption_service", False)
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


def _check_address(coordinator: str) -> None:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UsageError(f"--coordinator={coordinator} is not host:port, as in 10.0.0.1:1234")


def agree(what: str, facts: Mapping[str, Any]) -> None:
    """Compares what decides the program of each process; with others they would wait for ever.

    Args:
      what: the facts in a word.
      facts: by name, as JSON has them.

    Raises:
      Differ: in all processes, if one has others. DataError: one does not come to this point.
    """
    import jax

    if jax.process_count() == 1:
        return
    count, this, prefix = jax.process_count(), jax.process_index(), f"{AGREED}/{next(_TURNS)}"
    store = _store()
    try:
        store.key_value_set(f"{prefix}/{this}", json.dumps(facts))
        store.wait_at_barrier(f"{prefix}/set", AGREE_SECONDS * 1000)
        found = [json.loads(store.blocking_key_value_get(f"{prefix}/{i}", 60_000))
                 for i in range(count)]  # fmt: skip
        store.wait_at_barrier(f"{prefix}/read", AGREE_SECONDS * 1000)
    except jax.errors.JaxRuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise DataError(f"the processes could not compare their {what}: {line}") from error
    first = found[0]
    for i, other in enumerate(found):
        if names := [n for n in first | other if first.get(n) != other.get(n)]:
            differences = (f"{n} {first.get(n)} in process 0, {other.get(n)} in {i}" for n in names)
            raise Differ(f"the processes differ in their {what}: {'; '.join(differences)}")


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Inside, an error of one of many processes ends that process at once, and with it the others.

    Left to itself, it would wait at its exit for the others, which wait for it in their step. What
    all processes come to together (a stop, divergence, `Differ`) is raised as ever.
    """
    done = threading.Event()
    if _store() is not None:
        threading.Thread(target=_watch, args=(done,), daemon=True).start()
    try:
        yield
    except (Interrupted, Diverged, Differ):
        raise
    except Exception as error:
        import jax

        if _store() is None or jax.process_count() == 1:  # Alone; JAX may not even have started.
            raise
        line, this = " ".join(str(error).split())[:300], jax.process_index()
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in line:
            line += f" ({_who_failed()})"
        elif not isinstance(error, LenetAlexnetError):
            line = unexpected.tell(error, None, debug="--debug" in sys.argv)[0]
        with contextlib.suppress(Exception):
            _store().key_value_set(f"{FAILED}/{this}", line)
        code = error.exit_code if isinstance(error, LenetAlexnetError) else 1
        _end(f"error: process {this}: {line}", code)
    finally:
        done.set()


def _watch(done: threading.Event) -> None:
    """Ends this process when another has said that it failed, whatever it is at."""
    while not done.wait(1.0):
        try:
            failed = _store().key_value_dir_get(FAILED)
        except Exception:
            return  # Process 0, which keeps the store, has ended: the runtime ends this one.
        if failed:
            _end("error: " + _told(failed), 1)


def _end(line: str, code: int) -> None:
    _ENDING.acquire()  # One thread says why, and no one after it.
    print(line, file=sys.stderr, flush=True)
    os._exit(code)


def _told(failed: list[tuple[str, str]]) -> str:
    return "; ".join(f"process {key.rsplit('/')[-1]} failed: {why}" for key, why in failed)


def _who_failed() -> str:
    """After an exchange that broke: the process that ended, once it is known."""
    print("an exchange with the other processes broke: asking which one ended", file=sys.stderr)
    for _ in range(HEARTBEAT_SECONDS + 10):
        try:
            failed = _store().key_value_dir_get(FAILED)
        except Exception:
            return "process 0 has ended"  # It keeps the store.
        if failed:
            return _told(failed)
        time.sleep(1)  # The runtime ends this process when it misses another's heartbeat.
    return "all processes still answer"


def _store() -> Any:
    """The key-value store that all processes share."""
    from jax._src import distributed  # There is no public way to it.

    return distributed.global_state.client


def imagine(devices: int) -> None:
    """So many devices, simulated on the CPU; must come before JAX starts.

    Raises:
      UsageError: more than JAX can simulate in a process.
    """
    if devices > MOST_IMAGINED:
        raise UsageError(f"--devices={devices} is more than {MOST_IMAGINED}")
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {SIMULATE}={devices}"
    os.environ["XLA_FLAGS"] = flags.strip()


def own_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def each_core_a_device() -> None:
    """For many runs in one program, each on a core of its own; accelerators stay as they are."""
    import jax

    with contextlib.suppress(RuntimeError):  # It has started: with the devices that it has.
        jax.config.update("jax_num_cpu_devices", len(own_cores()))


def quieten() -> None:
    """Keeps XLA's own log off the screen; must come before JAX is imported."""
    # A program from the cache makes XLA complain on CPU of features that are its own tuning flags,
    # a page each time. What fails comes as an exception all the same.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def set_up(*, deterministic: bool = False) -> None:
    """The compilation cache (JAX_COMPILATION_CACHE_DIR moves it) and quiet libraries.

    With `deterministic`, XLA chooses for GPUs only what gives the same bits on every run (on CPUs
    it always does).

    Raises:
      UsageError: JAX has started already, so that it is too late for that.
    """
    quieten()
    import jax

    if deterministic and DETERMINISTIC not in os.environ.get("XLA_FLAGS", ""):
        from jax._src import xla_bridge  # There is no public way to ask without starting it.

        if xla_bridge.backends_are_initialized():
            raise UsageError(f"too late for --deterministic: set XLA_FLAGS={DETERMINISTIC} before")
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()
    # A program compiled for one core runs on one, and JAX does not tell the two apart.
    folder = _cache() / "lenet_alexnet" / f"xla_{len(own_cores())}_cores"
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    warnings.filterwarnings("ignore", module="orbax|tensorflow_datasets|etils")


def _cache() -> Path:
    """Where caches are; without a home directory, a folder that ends with this process."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    except RuntimeError:  # HOME is not set, and the user has no entry in passwd.
        return _passing()


@functools.cache
def _passing() -> Path:
    folder = tempfile.mkdtemp(prefix="lenet_alexnet_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
