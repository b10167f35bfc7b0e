"""Many processes that train one network: they join, compare their facts, and end together."""

import contextlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lenet_alexnet.errors import DataError, Diverged, Interrupted, LenetAlexnetError, UsageError
from lenet_alexnet.runtime import unexpected

# A launcher's variables for the number of processes.
LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
HEARTBEAT_SECONDS = 30  # After this silence of one process, all the others end.
COMPARE_SECONDS = 1800  # Compilation may take long. If a process ends meanwhile, all end.
FAILED = "lenet_alexnet/failed"  # the key under which a process writes why it ends
COMPARED = "lenet_alexnet/agreed"  # the prefix of the keys of its facts
_COMPARISONS = itertools.count()  # equal in all processes: they compare in the same order
_ENDING = threading.Lock()


class Differ(UsageError):
    """The processes of one run were not started with the same config, data or machine."""


def join(coordinator: str | None, process_id: int | None, num_processes: int | None) -> None:
    """Joins this process to others that train together; without a launcher, it stays alone.

    Slurm's srun and MPI set the environment; otherwise all three arguments are needed.

    Args:
      coordinator: host:port of process 0.
      process_id: 0 .. num_processes - 1.
      num_processes: the number of processes.

    Raises:
      UsageError: only some of the three are given. DataError: the others did not join.
    """
    given = {"coordinator": coordinator, "process_id": process_id, "num_processes": num_processes}
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < len(given):
        raise UsageError(
            f"--{missing[0]} is missing: many processes need all of --coordinator, --process_id "
            "and --num_processes"
        )
    if not missing:
        _check_address(str(coordinator))
        if not 0 <= (process_id or 0) < (num_processes or 0):
            raise UsageError(f"--process_id={process_id} is not one of 0..{num_processes}-1")
    launched = any(int(os.environ.get(name, "1")) > 1 for name in LAUNCHERS)
    if missing and not launched:
        return
    import jax

    # It would handle SIGTERM; our processes agree on a stop between two steps.
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


def require_same(what: str, facts: Mapping[str, Any]) -> None:
    """Compares the facts that decide each process's program; if they differed, all would hang.

    Args:
      what: a word for the facts, for the message.
      facts: by name, with JSON values.

    Raises:
      Differ: in all processes, if the facts differ. DataError: a process did not arrive.
    """
    import jax

    if jax.process_count() == 1:
        return
    count, this = jax.process_count(), jax.process_index()
    prefix = f"{COMPARED}/{next(_COMPARISONS)}"
    store = _store()
    try:
        store.key_value_set(f"{prefix}/{this}", json.dumps(facts))
        store.wait_at_barrier(f"{prefix}/set", COMPARE_SECONDS * 1000)
        found = [
            json.loads(store.blocking_key_value_get(f"{prefix}/{i}", 60_000)) for i in range(count)
        ]
        store.wait_at_barrier(f"{prefix}/read", COMPARE_SECONDS * 1000)
    except jax.errors.JaxRuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise DataError(f"the processes could not compare their {what}: {line}") from error
    first = found[0]
    for i, other in enumerate(found):
        if names := [n for n in first | other if first.get(n) != other.get(n)]:
            differences = (f"{n} {first.get(n)} in process 0, {other.get(n)} in {i}" for n in names)
            raise Differ(f"the processes differ in their {what}: {'; '.join(differences)}")


def any_process(flag: bool) -> bool:
    """Whether `flag` is true in any process; all processes get the same answer."""
    import jax

    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    with jax.transfer_guard("allow"):
        return bool(np.any(multihost_utils.process_allgather(np.bool_(flag))))


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """Inside, an error in one of many processes ends it at once, and then the others.

    Otherwise it would wait at exit for the others, which wait for it in a step. Errors of all
    processes together (a stop, divergence, `Differ`) are raised as usual.
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

        if _store() is None or jax.process_count() == 1:  # Alone; JAX may not have started.
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
    """Ends this process as soon as another has reported its failure."""
    while not done.wait(1.0):
        try:
            failed = _store().key_value_dir_get(FAILED)
        except Exception:
            return  # Process 0, which keeps the store, has ended: the runtime ends this one.
        if failed:
            _end("error: " + _told(failed), 1)


def _end(line: str, code: int) -> None:
    _ENDING.acquire()  # Only one thread may report the reason.
    print(line, file=sys.stderr, flush=True)
    os._exit(code)


def _told(failed: list[tuple[str, str]]) -> str:
    return "; ".join(f"process {key.rsplit('/')[-1]} failed: {why}" for key, why in failed)


def _who_failed() -> str:
    """After communication has failed: the process that ended, as soon as it is known."""
    print("communication with the other processes failed: asking which one ended", file=sys.stderr)
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
    from jax._src import distributed  # No public function returns it.

    return distributed.global_state.client
