"""The kinds of run that are killed, stopped and damaged, each as the command that starts it."""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np

from tests.conftest import ROOT

# Saving at every stop but one or two, so that many a random moment falls into a save.
LENET = [
    "train",
    f"--config={ROOT}/configs/lenet5_quickstart.py",
    "--config.data.train=train[:300]",
    "--config.data.test=test[:110]",
    "--config.train.batch_size=20",
    "--config.train.duration=120 steps",
    "--config.train.log_every=10 steps",
    "--config.train.steps_per_dispatch=7",
    "--config.eval.every=40 steps",
    "--config.eval.batch_size=50",
    "--config.checkpoint.every=8 steps",
]
# A kind more is one entry more: all that follows from it are the files below its workdir.
KINDS = {"lenet": LENET}


def command(kind: str, workdir: Path) -> list[str]:
    """The arguments after `lenet-alexnet`."""
    return [*KINDS[kind], f"--workdir={workdir}"]


def process(kind: str, workdir: Path) -> dict:
    """The arguments of `subprocess.Popen` that start it."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "xla")}
    return {
        "args": [sys.executable, "-m", "lenet_alexnet", *command(kind, workdir)],
        "env": os.environ | cache | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        "text": True,
    }


def lines(workdir: Path) -> int:
    """How many lines of metrics a run has written."""
    # Not by rglob: checkpoints come and go below.
    files = [*workdir.glob("metrics.jsonl"), *workdir.glob("*/metrics.jsonl")]
    return sum(path.read_bytes().count(b"\n") for path in files)


def outcome(workdir: Path) -> dict:
    """What must be the same however a run was disturbed: parameters, state, log, result."""
    found: dict = {}
    for path in sorted(workdir.rglob("metrics.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        clock = ("time", "images_per_second")
        found[path.relative_to(workdir).as_posix()] = [
            {key: value for key, value in row.items() if key not in clock} for row in rows
        ]
    for path in sorted(workdir.rglob("summary.json")):
        summary = json.loads(path.read_text())
        kept = ("status", "step", "eval", "best", "config_hash")
        found[path.relative_to(workdir).as_posix()] = {key: summary[key] for key in kept}
    for folder in sorted(workdir.rglob("checkpoints")):
        newest = max(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
        for item in sorted((folder / str(newest)).iterdir()):
            if (item / "_METADATA").exists():
                found[item.relative_to(workdir).as_posix()] = digest(item)
    return found


def digest(item: Path) -> str:
    """A hash of all the arrays of one item of a checkpoint, read without knowing what it is."""
    import jax
    import orbax.checkpoint as ocp

    tree = ocp.StandardCheckpointer().restore(item)
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{path} {array.dtype} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()
