"""The library of the loops: compiled once per machine, cached, verified before use.

The library runs as the user. So it is loaded only if the user owns it, no one else can write to its
folder, and it has the checksum that was written when it was compiled.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import jax

from lenet_alexnet.runtime import backend, signals, storage

SOURCE = Path(__file__).with_name("loops.cc")
# -w: JAX's own headers cause warnings.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-w")
PATIENCE_SECONDS = (10, 110)  # until a message, then until the compiler is killed


class BuildError(Exception):
    """Why there is no library, in one line; `unexpected` is worth a warning."""

    def __init__(self, why: str, *, unexpected: bool = True) -> None:
        super().__init__(why)
        self.unexpected = unexpected


def load() -> ctypes.CDLL:
    """The library, compiled on the first call on a machine (five seconds).

    Raises:
      BuildError: there is no compiler, it fails or hangs, or others can write to the cache.
    """
    compiler = _compiler()
    try:
        return ctypes.CDLL(str(_library(compiler)))
    except OSError as error:
        raise BuildError(f"they could not be compiled or loaded: {error}") from error


def _compiler() -> list[str]:
    missing = BuildError("no C++ compiler was found (CXX, c++, g++ or clang++)", unexpected=False)
    if named := os.environ.get("CXX"):
        try:
            command = shlex.split(named)
        except ValueError as error:
            raise BuildError(f"CXX={named} is no command: {error}") from error
        if not command or not shutil.which(command[0]):
            raise missing
        return command
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    raise missing


def _library(compiler: list[str]) -> Path:
    """The library for this source, compiler and machine; a home may be shared by many kinds."""
    parts = [SOURCE.read_text(), jax.__version__, shlex.join(compiler), *FLAGS, *_machine()]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    folder = backend.cache_folder("native")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if why := storage.problem_of_owner(folder):
        raise BuildError(f"{why}, so its files are not run")
    library = folder / f"native_{name}.so"
    if not _whole(library):
        _compile(compiler, library)
    return library


def _whole(library: Path) -> bool:
    """Whether it is the file that was compiled: a truncated one would end the process by SIGBUS."""
    try:
        if storage.problem_of_owner(library):
            return False
        with storage.open_here(_sum(library), "r") as file:
            expected = file.read()
        with storage.open_here(library) as file:
            return hashlib.sha256(file.read()).hexdigest() == expected.strip()
    except (OSError, UnicodeDecodeError):
        return False


def _sum(library: Path) -> Path:
    return library.with_suffix(".sha256")


def _compile(compiler: list[str], library: Path) -> None:
    """Moves the library into place in one step: others may be compiling it, too."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        new, new_sum = (Path(folder) / path.name for path in (library, _sum(library)))
        _run([*compiler, *FLAGS, f"-I{jax.ffi.include_dir()}", str(SOURCE), "-o", str(new)])
        new_sum.write_text(hashlib.sha256(new.read_bytes()).hexdigest() + "\n")
        new.chmod(0o700)  # With any umask.
        storage.settle(new, library)
        storage.settle(new_sum, _sum(library))


def _run(command: list[str]) -> None:
    """Runs the compiler; if it hangs, it is killed with its children."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    signals.DEPENDENT.add(process.pid)
    try:
        said = _wait(process, command[0])
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stderr:  # A child that left the group may still hold it.
            process.stderr.close()
        signals.DEPENDENT.discard(process.pid)
    if process.returncode:
        words = " ".join(said.split())[:300]
        raise BuildError(f"{command[0]} failed: {words or f'exit status {process.returncode}'}")


def _wait(process: subprocess.Popen[str], compiler: str) -> str:
    """Its stderr, after it has ended."""
    first, rest = PATIENCE_SECONDS
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=first)[1]
    print(f"waiting for the C++ compiler '{compiler}' (at most {rest} s more)", file=sys.stderr)
    try:
        return process.communicate(timeout=rest)[1]
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"the compiler '{compiler}' took more than {first + rest} s") from error


def _machine() -> list[str]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    kinds = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return [platform.machine(), platform.processor(), *sorted(kinds)]
