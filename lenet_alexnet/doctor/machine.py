"""Devices, cores, memory, the C++ compiler, caches and limits of this machine."""

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet import ops
from lenet_alexnet.doctor.finding import Finding
from lenet_alexnet.ops.cpu import native
from lenet_alexnet.runtime.backend import own_cores

FEWEST_FILES = 256  # open files; a run with several processes and checkpoints needs about 100
LEAST_DISK, LEAST_MEMORY = 2e9, 1e9  # bytes
DRIFT = 1e-5  # between two forms of one convolution, relative to the largest result


def examine() -> Iterator[Finding]:
    """Everything about the machine, cheapest first; compiles two small convolutions."""
    yield from _devices()
    yield _cores()
    yield _memory()
    yield _compiler()
    yield _arithmetic()
    yield from _cache()
    yield _files()


def _devices() -> Iterator[Finding]:
    devices = jax.devices()
    kinds = sorted({device.device_kind for device in devices})
    text = f"{len(devices)} {devices[0].platform} ({', '.join(kinds)})"
    stats = devices[0].memory_stats() if devices[0].platform == "gpu" else None
    if stats and "bytes_limit" in stats:
        text += f", {stats['bytes_limit'] / 2**30:.0f} GiB each"
    unused = devices[0].platform == "cpu" and shutil.which("nvidia-smi") is not None
    if unused and os.environ.get("JAX_PLATFORMS", "") != "cpu":
        yield Finding(
            kind="slow",
            subject="devices",
            text=f"{text}; there is an NVIDIA driver, but JAX has no GPU",
            mend="pip install 'lenet-alexnet[cuda13]' (or [cuda12], with an older driver)",
        )
    else:
        yield Finding(kind="ok", subject="devices", text=text)
    if devices[0].platform == "gpu" and os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE") == "false":
        yield Finding(
            kind="slow",
            subject="memory",
            text="XLA_PYTHON_CLIENT_PREALLOCATE=false: every allocation asks the driver",
            mend="unset it, or set XLA_PYTHON_CLIENT_MEM_FRACTION",
        )


def _cores() -> Finding:
    mine, all_of_them = len(own_cores()), os.cpu_count() or 1
    text = f"{mine} of {all_of_them}"
    if hasattr(os, "getloadavg"):
        busy = os.getloadavg()[0]
        text += f", load {busy:.1f}"
        if busy > mine + 0.5:
            return Finding(
                kind="slow",
                subject="cores",
                text=f"{text}: other programs use them, too",
                mend="wait for them, or measure with bench --clock=cpu",
            )
    return Finding(kind="ok", subject="cores", text=text)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    available = _meminfo().get("MemAvailable", free)
    text = f"{available / 2**30:.1f} of {total / 2**30:.1f} GiB available"
    if available < LEAST_MEMORY:
        mend = "end other programs; data.stream=True reads photos from disk"
        return Finding(kind="fails", subject="memory", text=text, mend=mend)
    return Finding(kind="ok", subject="memory", text=text)


def _meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes; {} where there is none."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: 1024 * int(value.split()[0]) for name, value in pairs}


def _compiler() -> Finding:
    if jax.default_backend() != "cpu":
        return Finding(kind="ok", subject="C++", text="not needed: its loops are for CPUs")
    if (why := native.ensure_compiled()) is None:
        return Finding(kind="ok", subject="C++", text="the loops are compiled")
    mend = "install a C++ compiler (g++ or clang++), or name one in CXX"
    return Finding(kind="slow", subject="C++", text=f"LeNet-5 trains slower: {why}", mend=mend)


def _arithmetic() -> Finding:
    """C1 of LeNet-5 in the fastest form here, and in the plain one."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(32, 32, 32, 1)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(5, 5, 1, 6)), jnp.float32)

    def conv(form: ops.ConvForm) -> np.ndarray:
        with jax.default_matmul_precision("highest"):
            return np.asarray(jax.jit(lambda: ops.nhwc(ops.conv2d(x, kernel, form=form)))())

    plain, fast = conv("plain"), conv("auto")
    drift = float(np.abs(fast - plain).max() / np.abs(plain).max())
    if not drift < DRIFT:
        return Finding(
            kind="fails",
            subject="arithmetic",
            text=f"two forms of one convolution differ by {drift:.1e} of the largest result",
            mend="train with --config.model.conv_form=plain, and report it with these lines",
        )
    return Finding(
        kind="ok", subject="arithmetic", text=f"two forms of a convolution agree to {drift:.0e}"
    )


def _cache() -> Iterator[Finding]:
    folder = Path(str(jax.config.jax_compilation_cache_dir or ""))  # type: ignore[attr-defined]
    above = folder
    while not above.exists():
        above = above.parent
    if not os.access(above, os.W_OK):
        yield Finding(
            kind="slow",
            subject="cache",
            text=f"'{above}' is not writable: every start compiles again",
            mend="JAX_COMPILATION_CACHE_DIR names another folder",
        )
        return
    programs = sum(1 for _ in folder.glob("*-cache")) if folder.exists() else 0
    free = shutil.disk_usage(above).free
    text = f"{programs} compiled programs in {folder}, {free / 2**30:.1f} GiB free"
    if free < LEAST_DISK:
        mend = "free some space: checkpoints and compiled programs need it"
        yield Finding(kind="fails", subject="cache", text=text, mend=mend)
    else:
        yield Finding(kind="ok", subject="cache", text=text)


def _files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft if soft != resource.RLIM_INFINITY else 'any number of'} at once"
    if soft != resource.RLIM_INFINITY and soft < FEWEST_FILES:
        return Finding(kind="fails", subject="open files", text=text, mend="ulimit -n 1024")
    return Finding(kind="ok", subject="open files", text=text)
