"""Processes that work side by side on parts of a data set, with a common progress and stop."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from lenet_alexnet.errors import DataError

REPORT_SECONDS = 0.2  # between two looks at the workers' progress


def run(
    work: Callable[[Any, Callable[[int], Any]], Any],
    items: Sequence[Any],
    jobs: int,
    show: Callable[[int], Any],
) -> None:
    """Calls `work(item, advance)` for every item, in at most `jobs` processes.

    Args:
      work: a function of a module; it calls `advance(n)` after n more photos.
      items: picklable.
      jobs: the largest number of processes at once.
      show: called often, with the number of photos done by all processes.

    Raises:
      DataError: a process was killed. Errors of `work` pass through, and the others stop.
    """
    # spawn, as the threads of libraries in this process would not survive a fork.
    context = multiprocessing.get_context("spawn")
    seen, stop = context.Value("q", 0), context.Event()
    with ProcessPoolExecutor(
        min(jobs, len(items)), context, initializer=_start_worker, initargs=(seen, stop)
    ) as pool:
        futures = [pool.submit(_work, work, item) for item in items]
        try:
            waiting: Any = futures
            while waiting:
                finished, waiting = wait(waiting, REPORT_SECONDS, FIRST_EXCEPTION)
                for future in finished:
                    future.result()
                show(seen.value)
        except BrokenProcessPool as error:
            raise DataError(
                "a worker was killed (out of memory?). What is finished stays: run the same "
                "command again, with fewer --jobs"
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


class _Stopped(Exception):
    """Another worker failed, or the user stopped the command."""


_shared: tuple[Any, Any] = (None, None)  # in a worker: the photos done by all, the stop event


def _start_worker(seen: Any, stop: Any) -> None:
    global _shared
    _shared = (seen, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which sets `stop`.
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """Ends the worker after its parent, which may be killed."""
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        time.sleep(1)
    os._exit(1)


def _work(work: Callable[[Any, Callable[[int], Any]], Any], item: Any) -> None:
    work(item, _advance)


def _advance(count: int) -> None:
    seen, stop = _shared
    if stop.is_set():
        raise _Stopped
    with seen.get_lock():
        seen.value += count
