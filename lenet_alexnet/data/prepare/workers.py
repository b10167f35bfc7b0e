"""Processes that work side by side on parts of a data set, with one progress and one end."""

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
      items: what can be pickled.
      jobs: how many processes work at once.
      show: is told again and again how many photos all of them have done.

    Raises:
      DataError: a process was killed. Whatever `work` raises; the others then stop.
    """
    # spawn: threads of the libraries here would not survive a fork.
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


_shared: tuple[Any, Any] = (None, None)  # of a worker: the photos seen by all, and when to stop


def _start_worker(seen: Any, stop: Any) -> None:
    global _shared
    _shared = (seen, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then says stop.
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A killed parent leaves no workers behind."""
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
