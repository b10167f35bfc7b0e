"""Signals sent in a chosen phase of a run."""

import os
import signal

from lenet_alexnet.data.streamed import Streamed
from lenet_alexnet.runs import integrity
from lenet_alexnet.runs.checkpoints import Checkpoints
from lenet_alexnet.training import experiment, loop
from lenet_alexnet.training.batches import FromDisk
from lenet_alexnet.training.evaluation import Evaluator
from lenet_alexnet.training.single_run import SingleRun

TERM, INT, USR1, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP


def send(monkeypatch, owner, name, number, at_call=1):
    """Sends this process a signal when `owner.name` is called."""
    original, calls = getattr(owner, name), []

    def wrapper(*arguments, **keywords):
        calls.append(1)
        if len(calls) == at_call:
            os.kill(os.getpid(), number)
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, name, wrapper)


LENET = {  # where, which signal, at which call, the steps at which it may stop
    "data loading": (experiment, "load", USR1, 1, range(1)),
    "compilation": (loop, "compile_run", TERM, 1, range(1)),
    "restoring": (SingleRun, "restore", INT, 1, range(1)),
    "training": (SingleRun, "dispatch", INT, 4, range(14, 31)),
    "evaluation": (Evaluator, "__call__", HUP, 2, range(80, 81)),
    "saving": (Checkpoints, "save", USR1, 3, range(24, 25)),
    "writing behind": (integrity, "write_sums", TERM, 2, range(16, 64)),
    "before the last evaluation": (SingleRun, "finish", TERM, 1, range(120, 121)),
}
PHOTOS = {
    f"{name}, {number.name}": (owner, function, number, at_call, steps)
    for number in (TERM, INT, USR1)
    for name, owner, function, at_call, steps in (
        ("opening the data", Streamed, "__init__", 1, range(1)),
        ("reading ahead", Streamed, "read_into", 12, range(4, 13)),
        ("waiting for data", FromDisk, "__call__", 9, range(18, 25)),
        ("saving", Checkpoints, "save", 2, range(16, 17)),
        ("writing behind", integrity, "write_sums", 3, range(24, 72)),
    )
}
PHASES = {"lenet": LENET, "photos": PHOTOS}
