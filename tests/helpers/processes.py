"""Programs on simulated devices, each in a separate process, and their outputs."""

import os
import subprocess
import sys
import time

import numpy as np

from lenet_alexnet.runtime.backend import SIMULATE
from tests.helpers import ROOT

STARTED: list[subprocess.Popen] = []


def start(arguments, devices, **more):
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {SIMULATE}={devices}".strip(),
        "PYTHONPATH": str(ROOT),
        **more,
    }
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def end_all():
    """Ends the processes that a test has left running."""
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finish(process):
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    return out


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(b[name], value, rtol=1e-4, atol=1e-4 * scale, err_msg=name)
