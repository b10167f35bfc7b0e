"""The results of a sweep for pandas (the extra `pandas`)."""

import os
from pathlib import Path
from typing import Any

from lenet_alexnet.errors import UsageError

MISSING = "sweep.load needs pandas: pip install 'lenet-alexnet[pandas]'"


def load(folder: str | os.PathLike[str]) -> Any:
    """A pandas DataFrame of the trials in a sweep's folder, in the order of the sweep.

    Its columns are `trial` (the id), `listed` (whether the sweep still has the trial), the swept
    entries by their full names, `status`, the columns of results.csv (errors are fractions,
    `seconds` is the time of training and compilation), and `path`, the trial's folder. What a trial
    does not have is missing (NaN or None). It may be called while the sweep runs.

    Args:
      folder: of a sweep, or its subfolder again/.

    Raises:
      UsageError: no pandas, no sweep there, or damaged files.
    """
    # Config files import this room: what only `load` needs is imported here.
    from lenet_alexnet.sweep import results
    from lenet_alexnet.sweep.trials import Sweep

    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise UsageError(MISSING) from error
    sweep = Sweep(Path(folder))
    listed, stored = sweep.listed(), sweep.stored()
    if not stored:
        raise UsageError(f"'{folder}' holds no sweep yet")
    order = [name for name in listed if name in stored]
    order += [name for name in stored if name not in listed]
    rows = results.collect(sweep, [sweep.trial(name) for name in order])
    keys = results.swept(rows)
    lines = [
        {
            "trial": row.trial.id,
            "listed": row.trial.id in listed,
            **{key: row.trial.overrides.get(key) for key in keys},
            "status": row.status,
            **{key: None if value == "" else value for key, value in row.values.items()},
            "path": str(sweep.folder(row.trial.id)),
        }
        for row in rows
    ]
    return pd.DataFrame(lines)
