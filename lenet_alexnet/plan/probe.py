"""The process that times a program in a temporary folder, as the runs would be trained:

python -m lenet_alexnet.plan.probe FOLDER

It reads FOLDER/task.json, compiles, times when its standard input ends, and writes
FOLDER/found.json. It has the exit codes of `train`.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from lenet_alexnet.errors import Interrupted, LenetAlexnetError
from lenet_alexnet.info import step_cost
from lenet_alexnet.plan.found import FOUND, TASK, Probe, Timings
from lenet_alexnet.plan.timing import Timed, measure, shorten
from lenet_alexnet.runs import integrity
from lenet_alexnet.runs.directory import RunDirectory, write_json
from lenet_alexnet.runs.metrics import read_rows
from lenet_alexnet.runs.wall_time import COMPILE, START_UP, STEPS
from lenet_alexnet.runtime import backend, signals, unexpected
from lenet_alexnet.runtime.age import process_began
from lenet_alexnet.training import conv_form, fingerprint, warm_start
from lenet_alexnet.training.experiment import Experiment, build
from lenet_alexnet.training.layout import most_devices
from lenet_alexnet.training.matmul_precision import matmul_precision

LONG = 4.0  # seconds of compiling, above which JAX's cache is tried


class _Silent:
    """In place of a progress bar."""

    def advance(self, step: int) -> None:
        """Nothing."""

    def show(self, row: dict[str, Any]) -> None:
        """Nothing."""

    def show_runs(self, rows: Sequence[dict[str, Any]]) -> None:
        """Nothing."""


class _Opened(NamedTuple):
    """A program that is compiled and open in the folders of its runs."""

    trainee: Timed
    program: Any
    devices: int
    copies: int  # of a run's parameters in the state
    again: Callable[[], Any]  # compiles it again


def time_program(
    lane_configs: Sequence[Any],
    folder: Path,
    *,
    side_by_side: bool,
    most: bool = False,
    stop_requested: Callable[[], bool] = lambda: False,
    began: float | None = None,
    wait: Callable[[], Any] = lambda: None,
) -> Probe:
    """Times the runs of these configs: one alone, or several side by side as one program.

    Args:
      lane_configs: of the runs.
      folder: for their files; it must be empty.
      side_by_side: whether they are one program, as a sweep trains them.
      most: a single run uses as many devices as divide its batch.
      stop_requested: called before every dispatch.
      began: `time.monotonic()` when the process began; None: now.
      wait: called once the program is compiled; when it returns, the timing starts.

    Raises:
      Interrupted: `stop_requested` became true.
      UsageError, DataError, Diverged: as training would.
    """
    began = time.monotonic() if began is None else began
    first, stop = lane_configs[0], partial(_stop, stop_requested)
    devices = 1 if side_by_side else most_devices(first) if most else 0
    form = "auto" if side_by_side else conv_form.choose(first, {}, devices)
    e = build(first, devices=devices, form=form)
    folders = [folder / str(i) for i in range(len(lane_configs))]
    short = shorten(e, first.eval.batch_size)
    open_it = _side_by_side if side_by_side else _alone
    with open_it(short, lane_configs, folders, stop, began) as found:
        parts = found.trainee.times.parts()
        wait()
        with found.trainee.times.spent_on(STEPS):
            chunks, rest = measure(found.trainee, short, saves_once=side_by_side)
        state = found.trainee.state
        params = sum(leaf.size for leaf in jax.tree.leaves(state.params)) // found.copies
        memory = step_cost.of_program(found.program, state, found.devices)
        used, again = found.devices, found.again
        del state, found  # The devices may have no room for it twice.
        start = time.monotonic()
    rest["last"] += time.monotonic() - start
    slowest = parts[COMPILE]
    fastest = min(_seconds_again(again), slowest) if slowest > LONG else slowest
    return Probe(
        timings=Timings(start_up=parts[START_UP], compile=(fastest, slowest), steps=chunks, **rest),
        **_of_experiment(e),
        batch_size=first.train.batch_size,
        runs=len(lane_configs),
        devices=used,
        device=jax.devices()[0].device_kind,
        params=params,
        memory=memory,
        kept=first.checkpoint.keep + bool(first.data.validation),
        **_sizes(folders[0]),
    )


def _of_experiment(e: Experiment) -> dict[str, int]:
    """The schedule, and how many examples are evaluated."""
    schedule = ("total", "log", "evaluate", "save", "refresh")
    return {key: getattr(e.schedule, key) for key in schedule} | {
        "curve": sum(len(e.eval_data[name]) for name in e.curve),
        "everything": sum(len(data) for data in e.eval_data.values()),
    }


def _stop(stop_requested: Callable[[], bool]) -> bool:
    if stop_requested():
        raise Interrupted("stopped: a plan leaves nothing behind")
    return False


@contextlib.contextmanager
def _alone(
    e: Experiment,
    lane_configs: Sequence[Any],
    folders: Sequence[Path],
    stop: Callable[[], bool],
    began: float,
) -> Iterator[_Opened]:
    from lenet_alexnet.training import loop

    config, folder = lane_configs[0], folders[0]
    out = RunDirectory(folder, config)
    facts = fingerprint.facts(fingerprint.of_data(e), {})
    out.begin(e.train_data.class_names, e.statistics, facts)
    with (
        matmul_precision(config),
        fingerprint.as_begun({}),
        loop.opened(out, config, e, began=began, stop_requested=stop) as run,
    ):
        run.restore(partial(warm_start.read, config, e))
        run.progress = _Silent()  # type: ignore[assignment]
        again = partial(loop.compile_run, config, e)
        run.clock.start(0)
        with jax.transfer_guard("disallow"):
            yield _Opened(run, run.compiled.steps.main, e.layout.mesh.size, 1, again)


@contextlib.contextmanager
def _side_by_side(
    e: Experiment,
    lane_configs: Sequence[Any],
    folders: Sequence[Path],
    stop: Callable[[], bool],
    began: float,
) -> Iterator[_Opened]:
    from lenet_alexnet.sweep import vmap
    from lenet_alexnet.sweep.compiled_lanes import compile_lanes

    quiet = [_without_sinks(config) for config in lane_configs]
    with vmap.opened(e, quiet, folders, stop_requested=stop, began=began) as group:
        orders = [lane.e.order for lane in group.lanes]
        group.progress = _Silent()  # type: ignore[assignment]
        again = partial(compile_lanes, lane_configs, e, group.devices, orders)
        group.start_clock()
        used, copies = group.devices.mesh.size, len(group.devices.index)
        yield _Opened(group, group.compiled.steps.main, used, copies, again)


def _without_sinks(config: Any) -> Any:
    """A copy of a config: a probe is not logged elsewhere."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        if "log" in config:
            config.log.to = ()
    return config


def _seconds_again(compile_again: Callable[[], Any]) -> float:
    """How long compiling takes when JAX's cache has what it keeps: as the next start of a run."""
    jax.clear_caches()
    start = time.monotonic()
    compile_again()
    return time.monotonic() - start


def _sizes(folder: Path) -> dict[str, Any]:
    """The bytes that a run writes, by its folder."""
    checkpoints = integrity.saved(folder / "checkpoints")
    rows, log = read_rows(folder / "metrics.jsonl"), (folder / "metrics.jsonl").stat().st_size
    others = [path for path in folder.iterdir() if path.is_file() and path.name != "metrics.jsonl"]
    return {
        "checkpoint_bytes": max(one.size for one in checkpoints),
        "line_bytes": log / max(len(rows), 1),
        "other_bytes": sum(path.stat().st_size for path in others),
    }


def main(folder: Path) -> int:
    """Times the program of task.json; an error is one line."""
    task = json.loads((folder / TASK).read_text())
    with signals.catch() as stop_requested:
        backend.set_up()
        if task["each_core_a_device"]:
            backend.each_core_a_device()
        try:
            found = time_program(
                [ConfigDict(config) for config in task["configs"]],
                folder / "runs",
                side_by_side=task["side_by_side"],
                most=task["most"],
                stop_requested=stop_requested,
                began=process_began(),
                wait=sys.stdin.read,
            )
        except LenetAlexnetError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            return error.exit_code
    write_json(folder / FOUND, found._asdict() | {"timings": found.timings._asdict()})
    return 0


if __name__ == "__main__":
    unexpected.quiet_callbacks()
    sys.exit(main(Path(sys.argv[1])))
