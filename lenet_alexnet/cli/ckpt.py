"""The command `ckpt`: checkpoints as files, without a GPU, data or JAX."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenet_alexnet.cli.command import Command, define_json
from lenet_alexnet.errors import DataError, UsageError, nearest
from lenet_alexnet.runs import integrity


def run(values: Any, rest: list[str]) -> int:
    """Runs `list DIR`, `show DIR` or `verify DIR`; returns the exit code."""
    action, *folders = rest or [""]
    if action not in ACTIONS:
        raise UsageError(f"unknown action '{action}': {nearest(action, ACTIONS)}")
    if len(folders) != 1:
        raise UsageError(f"ckpt {action} takes one run's folder")
    workdir = Path(folders[0])
    if not workdir.is_dir():
        raise UsageError(f"no folder '{workdir}'")
    checkpoints = integrity.saved(workdir / "checkpoints")
    if not checkpoints:
        raise DataError(f"'{workdir}' has no checkpoints yet")
    return ACTIONS[action](checkpoints, values.json)


def list_all(checkpoints: list[integrity.Saved], as_json: bool) -> int:
    """Prints step, error and size of each checkpoint, and marks the best and the last."""
    best = integrity.by_error(checkpoints)[:1]
    rows: list[dict[str, Any]] = [
        {
            "step": one.step,
            "top1_error": one.top1_error,
            "bytes": one.size,
            "roles": ["last"] * (one == checkpoints[0]) + ["best"] * (one in best),
        }
        for one in checkpoints
    ]
    if as_json:
        print(json.dumps(rows))
        return 0
    for step, top1_error, size, roles in (row.values() for row in rows):
        error = "not validated" if top1_error is None else f"error {100 * top1_error:.2f} %"
        print(f"step {step:>9,}  {error:<15}{size / 1e6:9.2f} MB  {' '.join(roles)}".rstrip())
    return 0


def show(checkpoints: list[integrity.Saved], as_json: bool) -> int:
    """Prints the arrays of the newest checkpoint, their types and shapes."""
    newest = checkpoints[0]
    items = sorted((path.parent for path in newest.folder.glob("*/_METADATA")), reverse=True)
    arrays = {item.name: integrity.arrays(item) for item in items}
    if as_json:
        print(json.dumps({"step": newest.step, "items": arrays}))
        return 0
    print(f"step {newest.step:,}")
    for item, kinds in arrays.items():
        print(f"{item}: {len(kinds)} arrays")
        for name, kind in kinds.items():
            print(f"  {name:<48}{kind}")
    return 0


def verify(checkpoints: list[integrity.Saved], as_json: bool) -> int:
    """Compares every file of every checkpoint with its checksum; DataError if one differs."""
    problems = {one.step: integrity.problem(one.folder) for one in checkpoints}
    if as_json:
        print(json.dumps([{"step": step, "problem": why} for step, why in problems.items()]))
    else:
        for step, why in problems.items():
            print(f"step {step:>9,}  {'whole' if why is None else f'damaged: {why}'}")
    if damaged := sum(why is not None for why in problems.values()):
        raise DataError(f"{damaged} of {len(problems)} checkpoints are damaged")
    return 0


ACTIONS: dict[str, Callable[..., int]] = {"list": list_all, "show": show, "verify": verify}


COMMAND = Command(
    help="lists a run's checkpoints, shows the newest one's arrays, verifies them all",
    usage="list DIR | show DIR | verify DIR",
    define=define_json,
    run=run,
)
