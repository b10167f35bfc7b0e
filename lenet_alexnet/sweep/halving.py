"""Successive halving (Jamieson and Talwalkar 2016): at each rung only the best continue."""

import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence

from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.expand import Trial
from lenet_alexnet.sweep.trials import Sweep, selecting_split


def rungs(settings: int, eta: int) -> list[float]:
    """The shares of the run after which 1/eta of the settings continue, until one is left."""
    count = max(0, math.ceil(math.log(settings, eta) - 1e-9)) if settings > 1 else 0
    return [eta**-k for k in range(count, 0, -1)]


def run(
    sweep: Sweep,
    trials: Sequence[Trial],
    eta: int,
    metric: str,
    run_until: Callable[[Sequence[Trial], float, Callable[[], bool]], None],
    stop_requested: Callable[[], bool],
) -> None:
    """Runs all trials rung by rung; a setting is judged by the mean over its seeds."""
    settings = len({_setting(trial) for trial in trials})
    for i, rung in enumerate(rungs(settings, eta), 1):
        alive = [t for t in trials if sweep.status(t.id)[0] != states.STOPPED]
        run_until([t for t in alive if not _reached(sweep, t, rung)], rung, stop_requested)
        found: dict[str, list[float]] = defaultdict(list)
        for trial in alive:
            found[_setting(trial)].append(_at(sweep, trial, rung, metric))
        means = {setting: statistics.fmean(values) for setting, values in found.items()}
        keep = math.ceil(settings / eta**i)
        best = sorted(means, key=lambda setting: means[setting])[:keep]
        for trial in alive:
            if _setting(trial) not in best and sweep.status(trial.id)[0] not in states.ENDED:
                sweep.end(trial.id, states.STOPPED, f"not among the best {keep} at {rung:.3g}")
        print(
            f"after {rung:.3g} of the run {len(best)} of {len(means)} settings continue",
            file=sys.stderr,
            flush=True,
        )
    run_until(trials, 1.0, stop_requested)


def _setting(trial: Trial) -> str:
    return str([item for item in trial.overrides.items() if item[0] != "seed"])


def _lines(sweep: Sweep, trial: Trial) -> list[dict]:
    split = selecting_split(trial.flat)
    return [row for row in sweep.rows(trial.id) if row["split"] == split]


def _share(sweep: Sweep, trial: Trial, row: dict) -> float:
    from lenet_alexnet.sweep.plan import total_epochs

    return row["epoch"] / total_epochs(trial.config)


def _reached(sweep: Sweep, trial: Trial, rung: float) -> bool:
    rows = _lines(sweep, trial)
    return bool(rows) and _share(sweep, trial, rows[-1]) >= rung - 1e-3


def _at(sweep: Sweep, trial: Trial, rung: float, metric: str) -> float:
    """The metric at the first evaluation at or after the rung; infinite for a broken trial."""
    for row in _lines(sweep, trial):
        if _share(sweep, trial, row) >= rung - 1e-3 and row[metric] is not None:
            return row[metric]
    return math.inf
