import json
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import portpicker
import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.data.prepare import photos
from lenet_alexnet.runtime import processes as start_up
from tests.helpers import processes
from tests.helpers.idx_files import write_idx
from tests.helpers.photo_files import picture
from tests.helpers.processes import assert_same, finish, start

LENET = {"data.train": "train[:400]", "train.batch_size": 40, "train.steps_per_dispatch": 8}


@pytest.fixture(autouse=True)
def _no_process_stays():
    yield
    processes.end_all()


def train(tmp_path, devices, config="lenet5_quickstart.py", steps=5, **overrides):
    """Parameters after a few steps on a number of devices, and a report."""
    folder = tmp_path / f"devices_{devices}"
    program = ["-m", "tests.helpers.parallel_program", config, folder, steps, json.dumps(overrides)]
    report = json.loads(finish(start(program, devices)))
    assert report["devices"] == devices
    with np.load(folder / "params.npz") as arrays:
        return dict(arrays), report


def sizes(report, kind):
    return [c["bytes"] for c in report["collectives"] if c["kind"] == kind]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(tmp_path_factory.mktemp("alone"), 1, **LENET)[0]


@pytest.mark.parametrize("devices", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_lenet_data_parallel_gives_the_parameters_of_one_device(alone, tmp_path, devices):
    params, report = train(tmp_path, devices, **LENET)
    assert_same(alone, params)
    # One all-reduce of the gradients, and scalars.
    reduced = sum(sizes(report, "all-reduce"))
    assert report["param_bytes"] <= reduced <= 1.05 * report["param_bytes"]
    assert {c["kind"] for c in report["collectives"]} == {"all-reduce"}


@pytest.mark.slow
def test_optimizer_state_can_be_cut_over_the_devices(alone, tmp_path):
    params, report = train(tmp_path, 4, **LENET, **{"parallel.shard_optimizer": True})
    assert_same(alone, params)
    # Two moments of Adam; a few small leaves do not divide by 4 and stay whole.
    assert report["moment_bytes_here"] < 0.3 * 2 * report["param_bytes"]


def test_a_batch_that_does_not_divide_is_refused_with_sizes_that_do(tmp_path):
    command = ["-m", "lenet_alexnet", "train", "--config=configs/lenet5_quickstart.py"]
    process = start([*command, f"--workdir={tmp_path}", "--config.train.batch_size=60"], 8)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 2
    assert err.strip() == ("error: train.batch_size 60 does not divide by 8 devices: take 56 or 64")


OPTIONS = [
    "--config=configs/lenet5_quickstart.py",
    "--config.data.train=train[:400]",
    "--config.data.test=test[:110]",
    "--config.train.batch_size=40",
    "--config.train.duration=20 steps",
    "--config.train.log_every=10 steps",
    "--config.train.steps_per_dispatch=5",
    "--config.checkpoint.every=10 steps",
]


def command(workdir, *more):
    return ["-m", "lenet_alexnet", "train", *OPTIONS, f"--workdir={workdir}", *more]


def start_two(workdir, *more):
    many = [f"--coordinator=127.0.0.1:{portpicker.pick_unused_port()}", "--num_processes=2"]
    return [start(command(workdir, *many, f"--process_id={i}", *more), 2) for i in range(2)]


def assert_same_curve(one, two):
    one, two = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (one, two)
    )
    assert [(r["step"], r["split"]) for r in one] == [(r["step"], r["split"]) for r in two]
    np.testing.assert_allclose([r["loss"] for r in one], [r["loss"] for r in two], rtol=1e-3)


@pytest.mark.slow
def test_two_processes_give_the_run_of_one(tmp_path):
    processes = start_two(tmp_path / "two")
    with ThreadPoolExecutor(2) as pool:  # Each reports what is wrong, not only the first.
        outputs = [*pool.map(finish, processes)]
    finish(start(command(tmp_path / "one"), 1))
    assert "test error" in outputs[0]
    assert "test error" not in outputs[1]  # Only one of them prints.
    assert_same_curve(tmp_path / "one", tmp_path / "two")
    assert main(["", "eval", f"--workdir={tmp_path / 'two'}"]) == 0


@pytest.mark.slow
def test_two_processes_start_from_the_weights_of_a_run(tmp_path):
    finish(start(command(tmp_path / "source"), 1))
    more = (f"--config.train.init_from={tmp_path / 'source'}", "--config.train.freeze=('C1',)")
    with ThreadPoolExecutor(2) as pool:
        [*pool.map(finish, start_two(tmp_path / "two", *more))]
    finish(start(command(tmp_path / "one", *more), 1))
    assert_same_curve(tmp_path / "one", tmp_path / "two")
    records = [json.loads((tmp_path / n / "run.json").read_text()) for n in ("one", "two")]
    assert records[0]["init_from"] == records[1]["init_from"]


@pytest.mark.attack(
    "hangs",
    "processes of one run with other learning rates or schedules",
    "one line each, without waiting",
)
@pytest.mark.parametrize(
    ("more", "differs"),
    [
        ("--config.optimizer.learning_rate=0.5", "config: optimizer.learning_rate"),
        pytest.param(
            "--config.train.steps_per_dispatch=4",
            "config: train.steps_per_dispatch",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_processes_with_other_configs_end_with_one_line_each(tmp_path, more, differs):
    many = [f"--coordinator=127.0.0.1:{portpicker.pick_unused_port()}", "--num_processes=2"]
    processes = [
        start(command(tmp_path, *many, f"--process_id={i}", *[more][:i]), 1) for i in range(2)
    ]
    with ThreadPoolExecutor(2) as pool:
        ends = [*pool.map(lambda process: process.communicate(timeout=100), processes)]
    assert [process.returncode for process in processes] == [2, 2]
    for _, err in ends:
        (line,) = [line for line in err.splitlines() if "error" in line]
        assert line.startswith(f"error: the processes differ in their {differs}"), err
    assert not (tmp_path / "config.json").exists()


class Store:
    """What the processes share, as the second of two sees it; `of_first` is the first's."""

    def __init__(self, of_first):
        self.entries = {"0": of_first}

    def key_value_set(self, key, value):
        self.entries[key.rsplit("/")[-1]] = value

    def blocking_key_value_get(self, key, _):
        return self.entries[key.rsplit("/")[-1]]

    def wait_at_barrier(self, *_):
        pass


@pytest.mark.attack(
    "silent", "processes of one run with other data or programs", "one line names what differs"
)
def test_what_processes_do_not_agree_on_is_named(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(start_up, "_store", lambda: store)
    store = Store('{"a": 1, "b": [2]}')
    start_up.require_same("data", {"a": 1, "b": (2,)})
    with pytest.raises(start_up.Differ, match=r"their data: b \[2\] in process 0, \[3\] in 1"):
        start_up.require_same("data", {"a": 1, "b": [3]})


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 2])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, first):
    longer = [
        "--config.data.train=train",
        "--config.train.batch_size=400",
        "--config.train.duration=100 steps",
        "--config.checkpoint.every=1000 steps",
    ]
    begin = {1: lambda w: [start(command(w, *longer), 1)], 2: lambda w: start_two(w, *longer)}
    processes = begin[first](tmp_path / "run")
    log = tmp_path / "run" / "metrics.jsonl"
    while not log.exists() or log.read_text().count("\n") < 3:
        assert processes[0].poll() is None
        time.sleep(0.2)
    processes[-1].terminate()  # One is signalled, all stop.
    assert [process.wait(timeout=120) for process in processes] == [75] * first
    for process in begin[3 - first](tmp_path / "run"):
        process.communicate(timeout=600)
        assert process.returncode == 0
    finish(start(command(tmp_path / "whole", *longer), 1))
    assert_same_curve(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
def test_a_run_resumes_on_fewer_and_on_more_devices(tmp_path):
    """On two, on one and on four: the curve and the parameters are those of one device."""
    report = json.loads(finish(start(["-m", "tests.helpers.elastic_program", tmp_path], 4)))
    assert report["difference"] < 1e-5
    assert report["first_steps"] == [0, *sorted(report["first_steps"][1:])]
    assert 0 < report["first_steps"][1] < report["first_steps"][2] < 60
    assert_same_curve(tmp_path / "whole", tmp_path / "elastic")


@pytest.mark.slow
def test_two_processes_share_the_records_of_a_streamed_run(tmp_path):
    """Each reads its half of every batch; a batch is made from both halves or not at all."""
    for i in range(3):
        (tmp_path / "in" / f"class_{i}").mkdir(parents=True)
        for j in range(16):
            picture(100 * i + j, (96, 80)).save(tmp_path / "in" / f"class_{i}" / f"{j}.png")
    photos.prepare(
        "folder",
        source=str(tmp_path / "in"),
        data_dir=str(tmp_path / "out"),
        name="mine",
        size=72,
        jobs=1,
    )
    options = {
        "data.data_dir": tmp_path / "out",
        "data.name": "mine",
        "data.stream": True,
        "data.image_size": 72,
        "data.train": "train[:36]",
        "data.validation": "train[36:]",
        "data.photo.crop": 64,
        "model.num_classes": 3,
        "model.image_size": 64,
        "model.dense_width": 64,
        "train.batch_size": 12,
        "train.duration": "8 steps",
        "train.log_every": "2 steps",
        "train.steps_per_dispatch": 2,
        "eval.every": "4 steps",
        "checkpoint.every": "4 steps",
        "optimizer.schedule.warmup": "0 steps",
    }
    flags = [f"--config.{key}={value}" for key, value in options.items()]

    def run(workdir, *more):
        base = ["-m", "lenet_alexnet", "train", "--config=configs/alexnet_imagenette.py", *flags]
        return [*base, f"--workdir={tmp_path / workdir}", *more]

    many = [f"--coordinator=127.0.0.1:{portpicker.pick_unused_port()}", "--num_processes=2"]
    processes = [start(run("two", *many, f"--process_id={i}"), 2) for i in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(finish, processes))
    finish(start(run("one"), 1))
    assert_same_curve(tmp_path / "one", tmp_path / "two")


@pytest.mark.attack("hangs", "a process of several dies", "the others end within a minute")
@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_within_a_minute(tmp_path):
    processes = start_two(tmp_path, "--config.train.duration=1000000 steps")
    log = tmp_path / "metrics.jsonl"
    while not log.exists() or log.read_text().count("\n") < 3:
        time.sleep(0.2)
    processes[1].kill()
    begin = time.monotonic()
    _, err = processes[0].communicate(timeout=120)
    assert time.monotonic() - begin < 60
    assert processes[0].returncode == 75
    assert "lost: process 1 on " in err


@pytest.mark.attack("hangs", "a process of several fails", "the others end within a minute")
@pytest.mark.slow
def test_a_process_that_fails_ends_the_others_within_a_minute(tmp_path, rng):
    many = [f"--coordinator=127.0.0.1:{portpicker.pick_unused_port()}", "--num_processes=2"]
    # The same config, but only the first process finds the files.
    data = ["--config.data.source=idx", "--config.data.data_dir=~/digits"]
    homes = [tmp_path / f"home_{i}" for i in range(2)]
    (homes[0] / "digits").mkdir(parents=True)
    for split, count in (("train", 400), ("t10k", 110)):
        arrays = {"images-idx3": rng.integers(0, 256, (count, 28, 28), np.uint8)}
        arrays["labels-idx1"] = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in arrays.items():
            write_idx(homes[0] / "digits" / f"{split}-{kind}-ubyte", array)
    processes = [
        start(command(tmp_path, *many, f"--process_id={i}", *data), 2, HOME=str(homes[i]))
        for i in range(2)
    ]
    _, err = processes[1].communicate(timeout=300)
    begin = time.monotonic()
    assert processes[1].returncode == 1
    assert "error: process 1: " in err
    assert str(homes[1]) in err
    assert "Traceback" not in err
    _, err = processes[0].communicate(timeout=120)
    assert time.monotonic() - begin < 60
    assert processes[0].returncode == 1
    assert "process 1 failed: " in err
    assert "Traceback" not in err
