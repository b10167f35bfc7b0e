"""Loops in C++ for CPUs, compiled on the machine that runs them (as PyTorch's `compile` does).

XLA calls them through its foreign function interface and lends them its threads.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import jax

from lenet_alexnet.errors import UsageError
from lenet_alexnet.ops.cpu.native import build
from lenet_alexnet.runtime import target
from lenet_alexnet.runtime.console import say

PREFIX = "LenetAlexnet"
NAMES = ("Conv", "ConvInputs", "ConvWeights", "MaxPool", "MaxPoolInputs")
CPUS = "they are for CPUs"


_asked: set[str | None] = set()  # the answers of `ensure_compiled`
_without: list[str] = []  # why the loops must not be used


def ensure_compiled() -> str | None:
    """Compiles the loops on the first call, unless `noted` forbids them.

    Returns:
      Why they cannot be used here; None: they are compiled and registered with XLA.
    """
    if target.platform() != "cpu":
        found: str | None = CPUS
    else:
        found = _without[-1] if _without else compile_loops()
    _asked.add(found)
    return found


@contextlib.contextmanager
def noted(without: str = "") -> Iterator[Callable[[], bool | None]]:
    """Inside, the loops are not used if `without` gives a reason.

    Yields a function that tells whether they were used inside; None if nothing asked for them.
    """
    before = _asked.copy()
    _asked.clear()
    if without:
        _without.append(without)
    try:
        yield lambda: None in _asked if _asked else None
    finally:
        _asked.update(before)
        if without:
            _without.pop()


@functools.cache
def compile_loops() -> str | None:
    """Compiles the loops and registers them with XLA, once per process.

    The first time on a machine takes five seconds, see `build.load`. An unexpected reason is
    printed, too.

    Returns:
      Why this machine cannot have them; None: they are registered.
    """
    if jax.default_backend() != "cpu":
        return CPUS
    try:
        library = build.load()
    except build.BuildError as error:
        if error.unexpected:
            say(f"warning: no loops in C++, which are faster: {error}")
        return str(error)
    for name in NAMES:
        function = jax.ffi.pycapsule(getattr(library, PREFIX + name))
        jax.ffi.register_ffi_target(PREFIX + name, function, platform="cpu")
    return None


def require() -> None:
    """Raises UsageError where the loops cannot be used."""
    if (why := ensure_compiled()) is not None:
        raise UsageError(f"model.conv_form 'native' is not available here: {why}")
