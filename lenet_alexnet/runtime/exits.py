"""How another process ends this one with a chosen exit code, whatever this one is doing."""

import ctypes
import functools
import os
import sys
import threading

SIGEV_THREAD = 2  # <bits/sigevent-consts.h>: call a function in a new thread


class _Request(ctypes.Structure):
    """`struct aiocb` of glibc's <aio.h>, up to the `struct sigevent` in it."""

    _fields_ = (
        ("file", ctypes.c_int),
        ("operation", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("argument", ctypes.c_size_t),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("rest", ctypes.c_byte * 256),
    )


@functools.cache
def on_byte(code: int) -> int:
    """A descriptor of this process's: a byte written to it ends the process with exit code `code`.

    On Linux, the C library reads the byte (aio_read) and calls `_exit`. So it also works while
    native code that never returns holds Python's lock. Elsewhere a thread of Python reads it.
    """
    reader, writer = os.pipe()
    if sys.platform != "linux" or not _exit_when_read(reader, code):
        arguments = (reader, code)
        threading.Thread(target=_read_and_exit, args=arguments, daemon=True).start()
    return writer


_KEPT: list[object] = []  # what the C library writes to for as long as the process lives


def _exit_when_read(reader: int, code: int) -> bool:
    try:
        library = ctypes.CDLL("librt.so.1")  # It leads to libc, which has aio_read since 2.34.
        function = ctypes.cast(library._exit, ctypes.c_void_p)
        buffer = ctypes.create_string_buffer(1)
        request = _Request(
            file=reader,
            buffer=ctypes.addressof(buffer),
            bytes=1,
            argument=code,
            notify=SIGEV_THREAD,
            function=function.value,
        )
        _KEPT.extend((buffer, request))
        return bool(library.aio_read(ctypes.byref(request)) == 0)
    except (OSError, AttributeError):  # Another C library than glibc.
        return False


def _read_and_exit(reader: int, code: int) -> None:
    os.read(reader, 1)
    os._exit(code)


def delay_aborts() -> None:
    """Makes an abort wait for six seconds.

    JAX aborts a process as soon as the connection to process 0 breaks, in any of its threads. The
    watcher knows which process ended, and ends this one with the right exit code meanwhile. The
    handler is `sleep` itself: it gets the signal's number, 6, and needs no lock of Python.
    """
    library = ctypes.CDLL(None)
    library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    library.signal.restype = ctypes.c_void_p
    library.signal(6, ctypes.cast(library.sleep, ctypes.c_void_p))
