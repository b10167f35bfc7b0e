"""A trace of some steps of a run, for TensorBoard and Perfetto: `train --profile=START:STOP`."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime.console import first_process, say
from lenet_alexnet.training.experiment import Experiment


class Span(NamedTuple):
    """The steps after `start` completed steps, up to step `stop`."""

    start: int
    stop: int


def parse(text: str) -> Span | None:
    """The steps of --profile; None if there is no such flag.

    Raises:
      UsageError: not START:STOP with 0 <= START < STOP.
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,10}):(\d{1,10})", text, re.ASCII)
    if not match or int(match[1]) >= int(match[2]):
        raise UsageError(f"--profile={text:.40} is not START:STOP with whole numbers, as 100:110")
    return Span(int(match[1]), int(match[2]))


def cut_at(span: Span | None, e: Experiment) -> Experiment:
    """The experiment with a schedule that ends dispatches at the ends of the trace.

    Raises:
      UsageError: the run has fewer steps.
    """
    if span is None:
        return e
    if span.stop > (total := e.schedule.total):
        raise UsageError(f"--profile={span.start}:{span.stop}: the run has {total:,} steps")
    return dataclasses.replace(e, schedule=dataclasses.replace(e.schedule, cuts=span))


class Profile(contextlib.AbstractContextManager):
    """The trace of a run's steps `span`, written by the first process to a folder.

    A run that is stopped inside the span leaves a trace of the steps until then. Training
    continues if the trace cannot be written.
    """

    def __init__(self, span: Span | None, folder: Path) -> None:
        self._span = span if first_process() else None
        self._folder, self._running, self._begun = folder, False, False

    def dispatch(
        self, step: int, stop: int, state: Any, run: Callable[[], tuple[Any, Any]]
    ) -> tuple[Any, Any]:
        """The result of `run`, which starts the steps from `step` to `stop`.

        They are traced if they should be; the steps before, whose result is `state`, are not.
        """
        if not self._span or not self._span.start <= step < self._span.stop:
            return run()
        if not self._begun:
            jax.block_until_ready(state)
            self._start()
        with jax.profiler.StepTraceAnnotation("train", step_num=step + 1, last=stop):
            result = run()
        if stop >= self._span.stop and self._running:
            jax.block_until_ready(result)
            self._stop()
        return result

    def _start(self) -> None:
        self._begun = True
        with self._no_error():
            jax.profiler.start_trace(self._folder)
            self._running = True

    def _stop(self) -> None:
        self._running = False
        with self._no_error():
            jax.profiler.stop_trace()
            say(f"a trace of the steps is in {self._folder}")

    @contextlib.contextmanager
    def _no_error(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            say(f"warning: the trace in {self._folder} is missing: {lines[0]}")

    def __exit__(self, *_: object) -> None:
        """Ends a trace that is running; reports if none of its steps was trained."""
        if self._running:
            self._stop()
        elif self._span and not self._begun:
            say(f"no trace: none of the steps {self._span.start}:{self._span.stop} was trained now")
