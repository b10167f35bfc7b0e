"""`bench cost`: what XLA compiles for a GPU that is not there."""

import json
import os
import subprocess
import sys

import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.info import absent
from tests.helpers import ROOT

PHOTOS = "--config=configs/alexnet_imagenet.py"
needs_plugin = pytest.mark.skipif(
    not absent.has_plugin(), reason=f"JAX's plugin for CUDA is not installed: {absent.INSTALL}"
)
# Billions of bytes that a step of 512 images in bfloat16 accesses, at most. Fewer are not always
# faster: on an H200, sums that computed what they add up took longest (experiments/016_gpu).
MOST = {"paper": 11.0, "owt": 7.0, "bn": 9.6}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cost", "--for=h100"], "bench cost needs --config=FILE"),
        (["cost", PHOTOS], "--for is missing"),
        (["cost", PHOTOS, "--for=h10"], "--for=h10: did you mean 'h100'?"),
        (["lenet5", PHOTOS], "--config is for bench cost"),
    ],
)
def test_wrong_arguments(arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["lenet-alexnet", "bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_the_plugin(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(absent, "has_plugin", lambda: False)
    assert main(["lenet-alexnet", "bench", "cost", "--for=h100", PHOTOS]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"error: --for=h100 needs JAX's plugin for CUDA: {absent.INSTALL}"]


def cost(*arguments):
    """`bench cost` in a process: it compiles for other devices than the tests have."""
    command = [sys.executable, "-m", "lenet_alexnet", "bench", "cost", "--for=h100", "--json"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        text=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_plugin
@pytest.mark.slow
@pytest.mark.parametrize("variant", MOST)
def test_the_bytes_of_a_step(variant):
    options = {"model.variant": variant, "train.precision": "bfloat16", "train.batch_size": 512}
    found = cost(PHOTOS, *[f"--config.{key}={value}" for key, value in options.items()])
    assert 0.8 * MOST[variant] < found["bytes"] / 1e9 <= MOST[variant]
    assert found["trip_count"] == 8
    assert found["host_transfers"] == []
    assert found["peak_bytes"] < 80e9


@needs_plugin
def test_a_small_step_on_two_gpus():
    found = cost("--config=configs/lenet5_quickstart.py", "--devices=2")
    assert 0 <= found["exchanged"]["all-reduce"] - 4 * 61_706 < 64
    assert found["bytes_by_layer"]["C3"] > found["bytes_by_layer"]["F6"]
