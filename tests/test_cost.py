"""The formulas against the program that XLA compiles."""

import json
import os
import subprocess
import sys

import pytest

from lenet_alexnet.info.collectives import sent
from lenet_alexnet.info.step_cost import Sizes, formula, formula_sent
from tests.helpers import ROOT

CASES = [
    ("dp", 1, "float32"),
    ("dp", 8, "float32"),
    ("tower", 8, "float32"),
    ("owt", 8, "float32"),
]
MORE = [
    ("dp", 2, "float32"),
    ("tower", 2, "float32"),
    ("tower", 4, "bfloat16"),
    ("owt", 2, "float32"),
    ("owt+turns", 4, "float32"),
]


def compiled(cases):
    words = [str(word) for case in cases for word in case]
    command = [sys.executable, "-m", "tests.helpers.cost_program", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(cases, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def results():
    return compiled(CASES)


@pytest.fixture(scope="module")
def more_results():
    return compiled(MORE)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_formulas_are_what_is_compiled(results, case):
    assert_formulas(results[case], case)


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE)
def test_the_formulas_are_what_is_compiled_in_more_cases(more_results, case):
    assert_formulas(more_results[case], case)


def assert_formulas(result, case):
    kinds = result["formula"].keys() | result["exchanged"].keys()
    assert kinds == result["formula"].keys()
    # XLA for CPUs exchanges bfloat16 as float32; fc8's sums are float32 everywhere.
    wider = {"all-gather", "reduce-scatter"} if case[2] == "bfloat16" else set()
    for kind in kinds:  # Metrics and losses are a few more scalars.
        expected = result["formula"][kind] * (2 if kind in wider else 1)
        assert 0 <= result["exchanged"][kind] - expected < 64, kind
    if wider:
        return
    assert 0 <= result["sent_bytes"] - result["sent_by_formula"] < 128


@pytest.mark.slow
def test_what_a_device_holds(results):
    alone = results["dp", 1, "float32"]
    assert alone["exchanged"] == {}
    assert results["dp", 8, "float32"]["param_bytes"] == alone["param_bytes"]
    # Everything except fc8's bias is halved.
    half = (alone["param_bytes"] - 8 * 4) // 2 + 8 * 4
    assert results["tower", 8, "float32"]["param_bytes"] == half
    # Momentum, and a few scalars.
    assert 0 <= results["tower", 8, "float32"]["optimizer_bytes"] - half < 64
    assert results["owt", 8, "float32"]["param_bytes"] < alone["param_bytes"]
    eighth = alone["activation_bytes"] // 8
    assert results["owt", 8, "float32"]["activation_bytes"] == eighth
    # The compiler keeps the parameters, the state and more than one layer's activations at once.
    for result in results.values():
        floor = result["param_bytes"] + result["optimizer_bytes"]
        assert result["peak_bytes"] > floor


def test_the_published_net_by_hand():
    """Batch 128 on two devices: sec. 3.2's exchanges, from the printed shapes."""
    size = Sizes(
        params=60_965_224,
        dense=58_631_144 - 1000,
        width=4,
        classes=1000,
        seams={"conv3": 13 * 13 * 256, "fc6": 9216, "fc7": 4096},
    )
    gathered = 4 * 128 * (43_264 + 9_216 + 4_096)
    assert formula("tower", size, 2, 128) == {
        "all-reduce": 4 * 128 * 1000,
        "all-gather": gathered,
        "reduce-scatter": gathered // 2,
    }
    # Each GPU sends its half of each exchanged input forward, as much backward, and its sums.
    assert formula_sent("tower", size, 2, 128) == gathered // 2 + gathered // 2 + 4 * 128 * 1000
    assert formula("dp", size, 2, 128) == {"all-reduce": 243_860_896}
    # One weird trick moves less than data parallel at 128 on each device.
    for n in (2, 4, 8):
        assert formula_sent("owt", size, n, 128 * n) < formula_sent("dp", size, n, 128 * n)


def test_rings():
    assert sent("all-reduce", 800, 8) == 1400
    assert sent("all-gather", 800, 8) == 700
    assert sent("reduce-scatter", 100, 8) == 700
    assert sent("all-reduce", 800, 1) == 0


@pytest.mark.slow
def test_the_command(tmp_path):
    command = [sys.executable, "-m", "lenet_alexnet", "info", "--devices=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(*more):
        return subprocess.run(
            [*command, "--config=configs/lenet5_quickstart.py", *more],
            cwd=ROOT,
            text=True,
            capture_output=True,
            env=environment,
            check=False,
        )

    done = run("--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["parallel"]
    assert report["param_bytes"] == 4 * 61_706
    assert report["formula"] == {"all-reduce": 4 * 61_706}
    assert 0 <= report["exchanged"]["all-reduce"] - 4 * 61_706 < 64
    done = run("--config.train.batch_size=33")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "take 32 or 34" in done.stderr
