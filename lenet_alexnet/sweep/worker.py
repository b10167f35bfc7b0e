"""The process that trains one trial, or several as one program:

python -m lenet_alexnet.sweep.worker ROOT UNTIL STUCK_AFTER [--allow-other-bits] ID...

It has the exit codes of `train`; 0 also if it stopped at UNTIL, a share of the run.
"""

import functools
import os
import signal
import site
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import lenet_alexnet
from lenet_alexnet import config as configs
from lenet_alexnet.errors import Diverged, Interrupted, LenetAlexnetError
from lenet_alexnet.runtime import backend, unexpected
from lenet_alexnet.runtime.age import process_began
from lenet_alexnet.runtime.heartbeat import STUCK_AFTER
from lenet_alexnet.sinks.sink import OfSweep
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.trials import Sweep

ALLOW_OTHER_BITS = "--allow-other-bits"


def command(
    root: Path,
    until: float,
    ids: Sequence[str],
    *,
    allow_other_bits: bool = False,
    stuck_after: float = STUCK_AFTER,
) -> list[str]:
    """The command of a worker. It imports nothing from the current folder (-P)."""
    flags = [ALLOW_OTHER_BITS] if allow_other_bits else []
    arguments = [str(root), str(until), str(stuck_after), *flags, *ids]
    return [sys.executable, "-P", "-m", "lenet_alexnet.sweep.worker", *arguments]


def environment() -> dict[str, str]:
    """The environment of a worker, in which it imports this same package, also in a checkout."""
    above = str(Path(lenet_alexnet.__file__).parents[1])
    if above in site.getsitepackages():
        return dict(os.environ)
    rest = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{above}{os.pathsep}{rest}" if rest else above}


def main(arguments: list[str]) -> int:
    """Trains; an error of a single trial is recorded in its folder."""
    from lenet_alexnet.runtime import signals, watch

    root, until, stuck_after = Path(arguments[0]), float(arguments[1]), float(arguments[2])
    ids = [argument for argument in arguments[3:] if argument != ALLOW_OTHER_BITS]
    allow = ALLOW_OTHER_BITS in arguments
    sweep = Sweep(root)
    # A worker of a launcher that was killed may still be saving: wait for it.
    locks = [states.lock(sweep.folder(name) / ".worker", wait=True) for name in ids]
    backend.set_up()
    with (
        signals.catch() as stop_requested,
        watch.watching(stuck_after, sweep.folder(ids[0])),
    ):
        if os.environ.get("LENET_ALEXNET_LAUNCHER"):
            threading.Thread(target=_end_with_launcher, daemon=True).start()
        try:
            if len(ids) == 1:
                _one(sweep, ids[0], until, stop_requested, allow)
            else:
                _several(sweep, ids, until, stop_requested, allow)
        except Diverged:
            return 0  # The summary records it.
        except Interrupted as stop:
            print(stop, file=sys.stderr, flush=True)
            return stop.exit_code
        except LenetAlexnetError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            if len(ids) == 1:
                sweep.end(ids[0], states.FAILED, str(error))
            return error.exit_code
        except Exception as error:
            traceback.print_exc()
            if len(ids) == 1:
                line = str(error).strip().split("\n")[0]
                sweep.end(ids[0], states.FAILED, f"{type(error).__name__}: {line}")
            return 1
    del locks
    return 0


def _end_with_launcher() -> None:
    """Saves and stops when the launcher ends, even by kill -9: it holds the pipe at stdin."""
    # Not through sys.stdin, whose lock this thread would hold when the interpreter ends.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _one(
    sweep: Sweep, name: str, until: float, stop_requested: Callable[[], bool], allow: bool
) -> None:
    from lenet_alexnet.training.loop import train_and_evaluate

    overrides, config = sweep.read(name)
    train = functools.partial(
        train_and_evaluate,
        allow_other_bits=allow,
        began=process_began(),
        sweep=OfSweep(sweep.root, overrides),
    )
    folder, split = sweep.folder(name), states.selecting_split(configs.flatten(config))

    def stopped() -> bool:
        return stop_requested() or (folder / states.END).exists()

    if until >= 1:
        train(config, folder, stop_requested=stopped)
        return
    from lenet_alexnet.training.experiment import build

    rung = until * build(config).schedule.total

    def reached() -> bool:
        rows = sweep.rows(name)
        return any(row["split"] == split and row["step"] >= rung for row in rows)

    try:
        train(config, folder, stop_requested=lambda: stopped() or reached())
    except Interrupted:
        if stopped():
            raise


def _several(
    sweep: Sweep, ids: list[str], until: float, stop_requested: Callable[[], bool], allow: bool
) -> None:
    backend.each_core_a_device()
    from lenet_alexnet.sweep.vmap import train_lanes

    overrides, lane_configs = zip(*(sweep.read(name) for name in ids), strict=True)
    train_lanes(
        lane_configs,
        [sweep.folder(name) for name in ids],
        until=until,
        stop_requested=stop_requested,
        allow_other_bits=allow,
        began=process_began(),
        of_sweep=[OfSweep(sweep.root, settings) for settings in overrides],
    )


if __name__ == "__main__":
    unexpected.quiet_callbacks()
    sys.exit(main(sys.argv[1:]))
