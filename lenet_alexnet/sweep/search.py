"""Search by Optuna in a sweep's folder: a config file's `search(trial)` returns overrides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenet_alexnet import config as configs
from lenet_alexnet.config.checks import check_validation
from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime import storage
from lenet_alexnet.sweep import results
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.expand import Bases, Trial
from lenet_alexnet.sweep.trials import Sweep

AT_ONCE = 8  # trials requested together, so that they can share a program


def run_search(
    path: str, base: Any, sweep: Sweep, options: Any, run: Any, stop_requested: Callable[[], bool]
) -> list[Trial]:
    """Gets trials from Optuna until `options.search` have ended; resumes after a stop.

    Raises:
      UsageError: no Optuna, no search() in the file, or no validation split.
    """
    module = configs.load(path)
    if not hasattr(module, "search"):
        raise UsageError(f"config file '{path}' has no search(trial): see sweep/search.py")
    check_validation(base, "--search")
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise UsageError("--search needs Optuna: pip install 'lenet-alexnet[search]'") from error
    sweep.open(base, path)  # After all checks, so that an error leaves nothing behind.
    study = _open_study(sweep.root / "optuna.log", base.seed)
    known: dict[str, Trial] = {}

    def make(overrides: dict[str, Any]) -> Trial:
        (trial,) = Bases(base).trials([overrides])
        sweep.add(trial)
        return known.setdefault(trial.id, trial)

    # Trials without a reported result, as their launcher was killed, come first.
    told = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL)
    asked = []
    for old in study.trials:
        if "overrides" in old.user_attrs:
            trial = make(old.user_attrs["overrides"])
            asked += [] if old.state in told else [(old.number, trial)]
    while True:
        while len(asked) < AT_ONCE and len(study.trials) < options.search:
            new = study.ask()
            trial = make(module.search(new))
            new.set_user_attr("overrides", trial.overrides)
            asked.append((new.number, trial))
        if not asked:
            return list(known.values())
        run([trial for _, trial in asked], 1.0, stop_requested)
        for number, trial in asked:
            (row,) = results.collect(sweep, [trial])
            if row.status == states.COMPLETED:
                study.tell(number, row.values[options.metric])
            else:
                study.tell(number, state=optuna.trial.TrialState.FAIL)
        asked = []


def _open_study(log: Path, seed: int) -> Any:
    """The study in an Optuna log, or a new one; UsageError if the log is damaged."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage.open_here(log, "a").close()  # Optuna would write through a link.
        return optuna.create_study(
            study_name="sweep",
            storage=optuna.storages.JournalStorage(JournalFileBackend(str(log))),
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
            load_if_exists=True,
        )
    except Exception as error:  # Optuna raises many kinds for damaged lines.
        line = " ".join(str(error).split())[:200]
        raise UsageError(f"cannot read '{log}': {type(error).__name__}: {line}") from error
