"""The kinds of runs that are killed, stopped and damaged, each with its command."""

import contextlib
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.helpers import ROOT
from tests.helpers.photo_files import prepare_folder, write_folder

# Saves at nearly every stop, so that many random moments fall into a save.
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
# The smallest AlexNet, with dropout, random crops, reflections and colours of photos on disk.
PHOTOS = [
    "train",
    f"--config={ROOT}/configs/alexnet_imagenette.py",
    "--config.data.name=mine",
    "--config.data.stream=true",
    "--config.data.image_size=72",
    "--config.data.photo.crop=64",
    "--config.data.train=train[:40]",
    "--config.data.validation=train[40:]",
    "--config.model.num_classes=2",
    "--config.model.image_size=64",
    "--config.model.widths=(8,8,8,8,8)",
    "--config.model.dense_width=16",
    "--config.train.batch_size=6",
    "--config.train.duration=72 steps",
    "--config.train.log_every=6 steps",
    "--config.train.steps_per_dispatch=4",
    "--config.eval.every=24 steps",
    "--config.eval.batch_size=5",
    "--config.checkpoint.every=8 steps",
]
SWEEP = [
    "sweep",
    f"--config={ROOT}/tests/helpers/seeds.py",
    "--executor=vmap",
    *[flag for flag in LENET if flag.startswith(("--config.data", "--config.train"))],
    "--config.eval.every=40 steps",
    "--config.checkpoint.every=15 steps",
]
# A new kind is one more entry; everything else follows from the files in its workdir.
KINDS = {"lenet": LENET, "photos": PHOTOS, "sweep": SWEEP}


def command(kind: str, workdir: Path) -> list[str]:
    """The arguments after `lenet-alexnet`."""
    data = [f"--config.data.data_dir={photos()}"] if kind == "photos" else []
    return [*KINDS[kind], *data, f"--workdir={workdir}"]


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """A folder that is removed when the tests end."""
    return tempfile.TemporaryDirectory()


@functools.cache
def photos() -> Path:
    """A folder with 48 prepared photos of two classes."""
    root = Path(_folder().name)
    prepare_folder(write_folder(root / "in", count=24), root / "out", size=72)
    return root / "out"


def start(kind: str, workdir: Path) -> subprocess.Popen:
    """A process that runs the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "lenet_alexnet", *command(kind, workdir)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill(run: subprocess.Popen) -> bool:
    """Kills a run with the processes that it has started; returns False if it had ended already."""
    if run.poll() is not None:
        return False
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    run.kill()
    for child in children:
        with contextlib.suppress(ProcessLookupError):  # A watcher ends with its process.
            os.kill(int(child), signal.SIGKILL)
    return run.wait() == -signal.SIGKILL


def began(workdir: Path) -> bool:
    """Whether a run is about to compile."""
    return any(any(workdir.glob(name)) for name in ("run.json", "trials/*/run.json"))


def lines(workdir: Path) -> int:
    """How many lines of metrics a run has written."""
    # Not by rglob: checkpoints come and go below.
    files = [*workdir.glob("metrics.jsonl"), *workdir.glob("trials/*/metrics.jsonl")]
    return sum(path.read_bytes().count(b"\n") for path in files)


def outcome(workdir: Path) -> dict:
    """What no disturbance of a run may change: parameters, state, log, result."""
    found: dict = {}
    for path in sorted(workdir.rglob("metrics.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        clock = ("time", "images_per_second", "data_wait")
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
    """A hash of all arrays of one item of a checkpoint, read without its structure."""
    import jax
    import orbax.checkpoint as ocp

    tree = ocp.StandardCheckpointer().restore(item)
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{path} {array.dtype} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()
