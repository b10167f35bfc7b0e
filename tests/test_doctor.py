import importlib.metadata
import json
import resource
import shutil

import jax
import numpy as np
import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.doctor import machine
from lenet_alexnet.ops.cpu import native


@pytest.fixture
def doctor(capsys, tmp_path):
    """Runs the command; returns the exit code and the findings by subject."""

    def call(*arguments):
        data = [f"--data_dir={tmp_path}"]
        code = main(["lenet-alexnet", "doctor", "--json", *data, *arguments])
        found = {}
        for finding in json.loads(capsys.readouterr().out):
            assert finding["kind"] == "ok" or finding["mend"]
            found.setdefault(finding["subject"], []).append(finding)
        return code, found

    return call


def test_this_machine(doctor, capsys, tmp_path):
    code, found = doctor()
    assert code == 0
    assert f"jax {jax.__version__}" in found["versions"][0]["text"]
    assert found["devices"][0]["text"].startswith(f"{len(jax.devices())} {jax.default_backend()}")
    assert found["arithmetic"][0]["kind"] == "ok"
    assert "data prepare mnist" in found["data"][0]["mend"]
    assert main(["lenet-alexnet", "doctor", f"--data_dir={tmp_path}"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("0 will fail")


def test_without_compiler_it_is_slow(doctor, monkeypatch):
    monkeypatch.setattr(native, "ensure_compiled", lambda: "no C++ compiler was found")
    code, found = doctor()
    (cpp,) = found["C++"]
    assert (code, cpp["kind"]) == (0, "slow")
    assert "no C++ compiler was found" in cpp["text"]
    assert "CXX" in cpp["mend"]


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        ({"jax": "0.10.2", "jaxlib": "0.10.2"}, "computes wrong results"),
        ({"jax": "0.12.0", "jaxlib": "0.10.1"}, "jax 0.12.0 does not fit jaxlib 0.10.1"),
    ],
)
def test_versions_that_fail(doctor, monkeypatch, versions, text):
    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: versions.get(name, known(name)))
    code, found = doctor()
    assert code == 1
    assert found["jaxlib"][0]["kind"] == "fails"
    assert text in found["jaxlib"][0]["text"]


def test_wrong_arithmetic_fails(doctor, monkeypatch):
    conv2d = machine.ops.conv2d

    def wrong(x, kernel, form):
        return conv2d(x, kernel) * (1 if form == "plain" else np.float32(1.001))

    monkeypatch.setattr(machine.ops, "conv2d", wrong)
    code, found = doctor()
    assert (code, found["arithmetic"][0]["kind"]) == (1, "fails")
    assert "differ by 1.0e-03" in found["arithmetic"][0]["text"]


def test_few_files_little_memory_and_disk_fail(doctor, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 1024))
    monkeypatch.setattr(machine, "_meminfo", lambda: {"MemAvailable": 2**29})
    usage = shutil.disk_usage("/")._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    code, found = doctor()
    assert code == 1
    assert found["open files"][0] == {
        "kind": "fails",
        "subject": "open files",
        "text": "64 at once",
        "mend": "ulimit -n 1024",
    }
    assert found["memory"][0]["text"].startswith("0.5 of ")
    assert {found[name][0]["kind"] for name in ("memory", "cache")} == {"fails"}


def test_a_driver_without_gpu_and_a_cache_nobody_can_write_are_slow(doctor, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(machine.os, "access", lambda path, mode: False)
    code, found = doctor()
    assert (code, found["cache"][0]["kind"]) == (0, "slow")
    if jax.default_backend() == "cpu":
        assert found["devices"][0]["kind"] == "slow"
        assert "[cuda13]" in found["devices"][0]["mend"]


def test_a_damaged_data_set_fails(doctor, tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{")
    (folder / "features.json").write_text("{")
    code, found = doctor()
    assert (code, found["data"][0]["kind"]) == (1, "fails")
    assert found["data"][0]["text"].startswith("mnist: ")
    assert "data prepare mnist" in found["data"][0]["mend"]
