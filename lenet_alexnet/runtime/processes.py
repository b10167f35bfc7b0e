"""Many processes that train one network: they join, and compare their facts."""

import itertools
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.runtime import heartbeat

# A launcher's variables for the number of processes.
LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
NEVER = 10**8  # seconds
COMPARE_SECONDS = 1800  # Compilation may take long. If a process ends meanwhile, all end.
COMPARED = "lenet_alexnet/agreed"  # the prefix of the keys of its facts
_COMPARISONS = itertools.count()  # equal in all processes: they compare in the same order


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
            heartbeat_timeout_seconds=NEVER,  # `watch` ends them together, with a reason.
        )
    except (RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())
        raise DataError(f"the processes did not find each other: {line}") from error


def _check_address(coordinator: str) -> None:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UsageError(f"--coordinator={coordinator} is not host:port, as in 10.0.0.1:1234")


@heartbeat.during("exchange")
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

    with jax.transfer_guard("allow"), heartbeat.during("exchange"):
        return bool(np.any(multihost_utils.process_allgather(np.bool_(flag))))


def count() -> int:
    """The number of processes, before or after JAX has started."""
    return _state().num_processes


def index() -> int:
    """The number of this process, from 0."""
    return _state().process_id


def host_of_first() -> str:
    """The host of process 0, by the name with which the others reach it."""
    return str(_state().coordinator_address).rpartition(":")[0].strip("[]")


def from_first(name: str, find: Callable[[], Any]) -> Any:
    """The value that `find` returns in process 0, in JSON; the other processes wait for it.

    Raises:
      DataError: process 0 did not find it in time.
    """
    if count() == 1:
        return find()
    key = f"{COMPARED}/{name}/{next(_COMPARISONS)}"
    if index() == 0:
        tell_others(key, find())
    with heartbeat.during("exchange"):
        return told(key)


def tell_others(key: str, value: Any) -> None:
    """Sets a value, in JSON, that all processes can read."""
    _store().key_value_set(key, json.dumps(value))


def told(key: str) -> Any:
    """The value that a process has set; waits until it is.

    Raises:
      DataError: it is not set in time.
    """
    import jax

    try:
        return json.loads(_store().blocking_key_value_get(key, 1000 * COMPARE_SECONDS))
    except jax.errors.JaxRuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise DataError(f"another process did not set {key}: {line}") from error


def _state() -> Any:
    """What this process knows of the others."""
    from jax._src import distributed  # No public function returns it.

    return distributed.global_state


def _store() -> Any:
    """The key-value store that all processes share."""
    return _state().client
