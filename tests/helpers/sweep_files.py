"""Config files for sweeps of tiny runs, and trials that look as if they had been trained."""

import json

from lenet_alexnet.sweep.expand import expand
from tests.helpers import ROOT
from tests.helpers.tiny_configs import make_tiny_config

TINY = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.helpers.tiny_configs import make_tiny_config
def get_config():
    return make_tiny_config()
"""


def write(tmp_path, body, name="file.py"):
    path = tmp_path / name
    path.write_text(TINY + body)
    return str(path)


def trials_of(overrides, base=None):
    """The trials of a list of overrides."""

    class Module:
        sweep = staticmethod(lambda: overrides)

    return expand(Module, base or make_tiny_config(), "file.py")[0]


def fake(sweep, trial, error, status="completed", *, test=None):
    """What a run of two evaluations leaves; `test` is its error on the test split, if another."""
    folder = sweep.folder(trial.id)
    folder.mkdir(parents=True, exist_ok=True)
    split = "validation" if trial.flat["data.validation"] else "test"
    lines = [(1, 0.9), (2, error)]
    rows = [
        {"step": step, "epoch": step, "split": split, "loss": 1.0, "top1_error": value}
        for step, value in lines
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    errors = {split: error, "test": error if test is None else test}
    found = {
        name: {"top1_error": value, "loss": 1.0, "examples": 9} for name, value in errors.items()
    }
    summary = {"status": status, "step": 2, "epoch": 2, "best": None, "train_seconds": 6.0}
    summary |= {"eval": found if status == "completed" else {}}
    summary |= {"compile_seconds": 2.0, "side_by_side": 4}
    (folder / "summary.json").write_text(json.dumps(summary))
