"""Loops in C++ for CPUs, compiled on the machine that runs them (as PyTorch's `compile` does).

XLA calls them like operations of its own (its foreign function interface), in any program, and
lends them its threads.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import jax

from lenet_alexnet.errors import UsageError

SOURCE = Path(__file__).with_name("conv.cc")
# Without lines of ours to debug, JAX's headers warn of themselves.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-w")
PREFIX = "LenetAlexnet"
NAMES = ("Conv", "ConvInputs", "ConvWeights")


@functools.cache
def problem() -> str | None:
    """Why the loops cannot be used here; None: they are compiled and known to XLA.

    Compiles them on the first call on a machine (five seconds), into the cache folder.
    """
    if jax.default_backend() != "cpu":
        return "they are for CPUs"
    compiler = _compiler()
    if compiler is None:
        return "no C++ compiler was found (CXX, c++, g++ or clang++)"
    try:
        library = ctypes.CDLL(str(_compiled(compiler)))
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split())[:300]
        return f"{compiler[0]} failed: {said or f'exit status {error.returncode}'}"
    except OSError as error:
        return f"they could not be compiled or loaded: {error}"
    for name in NAMES:
        function = jax.ffi.pycapsule(getattr(library, PREFIX + name))
        jax.ffi.register_ffi_target(PREFIX + name, function, platform="cpu")
    return None


def require() -> None:
    """Raises UsageError where the loops cannot be used."""
    if (why := problem()) is not None:
        raise UsageError(f"model.conv_form 'native' cannot be had here: {why}")


def _compiler() -> list[str] | None:
    if named := os.environ.get("CXX"):
        command = shlex.split(named)
        return command if command and shutil.which(command[0]) else None
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def _compiled(compiler: list[str]) -> Path:
    """The library for this source, compiler and kind of machine, as a home may serve many kinds."""
    parts = [SOURCE.read_text(), jax.__version__, shlex.join(compiler), *FLAGS, *_machine()]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    library = _cache() / f"native_{name}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            new = Path(folder) / library.name
            include = f"-I{jax.ffi.include_dir()}"
            command = [*compiler, *FLAGS, include, str(SOURCE), "-o", str(new)]
            subprocess.run(command, check=True, capture_output=True, text=True)
            new.replace(library)  # At once: others may be compiling it, too.
    return library


def _cache() -> Path:
    """The folder of JAX's compiled programs."""
    config: Any = jax.config  # whose attributes the type checker does not see
    return Path(config.jax_compilation_cache_dir or "~/.cache/lenet_alexnet").expanduser()


def _machine() -> list[str]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    kinds = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return [platform.machine(), platform.processor(), *sorted(kinds)]
