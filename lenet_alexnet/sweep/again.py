"""The best settings once more: new seeds, all the training data, and one look at the test set.

The sweep ranks by the validation split. Here that split is part of the training data, nothing is
evaluated before the end, and the choice is written down before the first run: what the test set
shows can no longer change it.
"""

import contextlib
import statistics
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from lenet_alexnet.config.checks import check_validation
from lenet_alexnet.errors import LenetAlexnetError, UsageError
from lenet_alexnet.sweep import plan, results
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.expand import Bases, Override, Trial
from lenet_alexnet.sweep.runner import SweepOptions, make_runner
from lenet_alexnet.sweep.trials import Sweep

FOLDER = "again"
# What a rerun sets itself.
OWN = ("data.train", "data.validation", "eval.every", "seed")


def run(
    path: str,
    base: ConfigDict,
    sweep: Sweep,
    trials: Sequence[Trial],
    options: SweepOptions,
    stop_requested: Callable[[], bool],
) -> int:
    """Trains the best `options.top` settings with `options.again` new seeds each in again/.

    It resumes. Returns the exit code.

    Args:
      path: the config file.
      base: its config.
      sweep: the sweep, whose trials have all ended.
      trials: its trials.
      options: of the command.
      stop_requested: whether to save and stop.

    Raises:
      UsageError: no validation or test split, trials that have not ended, fewer settings than
        wanted, or reruns of another choice in again/.
      LenetAlexnetError: a rerun broke.
    """
    check_validation(base, "--top")
    if not base.data.test:
        raise UsageError("--top needs a test split: data.test is empty")
    chosen = _choose(results.collect(sweep, trials), options)
    first = 1 + max([base.seed, *(trial.flat["seed"] for trial in trials)])
    whole = on_all_data(base)
    reruns = make_trials(whole, trials, chosen, range(first, first + options.again))
    plan.check(reruns)
    sweep.open(base, path)
    with contextlib.closing(Sweep(sweep.root / FOLDER)) as again:
        _check_choice(again, reruns)
        again.open(whole, path)
        again.list_trials(reruns)
        for trial in reruns:
            again.add(trial)
            if options.retry_failed and again.status(trial.id)[0] in states.BROKEN:
                again.forget(trial.id)
        make_runner(again, whole, options)(reruns, 1.0, stop_requested)
        return _report(again, reruns, chosen, options.metric)


def _choose(rows: Sequence[results.Row], options: SweepOptions) -> list[results.Setting]:
    """The best settings of a sweep that has ended, the best first."""
    if left := sum(row.status not in states.ENDED for row in rows):
        raise UsageError(f"--top needs the whole sweep: {left} of its trials are still to run")
    whole = [s for s in results.ranked(rows, options.metric) if s.found and not s.broken]
    if len(whole) < options.top:
        raise UsageError(f"--top={options.top}: only {len(whole)} settings have completed")
    return whole[: options.top]


def on_all_data(base: ConfigDict) -> ConfigDict:
    """The config with the validation data in the training data, evaluated only at the end."""
    whole = base.copy_and_resolve_references()
    with whole.unlocked():
        whole.data.train = f"{base.data.train}+{base.data.validation}"
        whole.data.validation, whole.eval.every = "", "0 steps"
    return whole


def make_trials(
    whole: ConfigDict,
    trials: Sequence[Trial],
    chosen: Sequence[results.Setting],
    seeds: Sequence[int],
) -> list[Trial]:
    """A trial for each chosen setting and seed, over the config of `on_all_data`."""
    overrides: list[Override] = []
    for setting in chosen:
        (old, *_) = (t for t in trials if results.setting(t.overrides) == setting.overrides)
        mine = {key: value for key, value in old.overrides.items() if key not in OWN}
        if mine.keys() != old.overrides.keys() - {"seed"}:  # The sweep is also over data.
            mine["data.train"] = on_all_data(old.config).data.train
        overrides += [mine | {"seed": seed} for seed in seeds]
    return Bases(whole).trials(overrides)


def _check_choice(again: Sweep, reruns: Sequence[Trial]) -> None:
    """Raises UsageError if the folder holds reruns of another choice, or with other seeds."""
    before = again.listed()
    if before and before != [trial.id for trial in reruns]:
        raise UsageError(
            f"'{again.root}' holds reruns of other settings or seeds, which may have seen the "
            "test set: to choose again, remove it"
        )


def _report(
    again: Sweep, reruns: Sequence[Trial], chosen: Sequence[results.Setting], metric: str
) -> int:
    """Writes results.csv and prints a line for each setting, in the order of the sweep."""
    rows = results.collect(again, reruns)
    path = again.root / "results.csv"
    results.write_csv(rows, path)
    scale, unit = (100, ", %") if metric == "top1_error" else (1, "")
    head = [f"validation {metric}{unit}", f"test {metric}{unit}", "std", "n", "95 % interval"]
    lines = [["rank", "setting", *head]]
    seeds = len(rows) // len(chosen)
    for i, setting in enumerate(chosen):
        mine = rows[i * seeds : (i + 1) * seeds]
        done = [scale * row.values[metric] for row in mine if row.status == states.COMPLETED]
        found = results.interval(done)
        lines.append(
            [
                str(i + 1),
                ", ".join(f"{key}={value}" for key, value in setting.overrides) or "all",
                f"{scale * setting.mean:.4g}",
                f"{statistics.fmean(done):.4g}" if done else "-",
                f"{statistics.stdev(done):.2g}" if len(done) > 1 else "-",
                str(len(done)),
                f"{found[0]:.4g} .. {found[1]:.4g}" if found else "-",
            ]
        )
    print(results.aligned(lines))
    print(
        f"{seeds} new seeds each, trained on all training data; the order is that of the "
        "sweep's validation split, the test set was used for nothing else"
    )
    print(f"written: {path}")
    for row in rows:
        if row.status in states.BROKEN:
            raise LenetAlexnetError(f"{row.trial.id} {row.status}: {row.values['error']}")
    return 0
