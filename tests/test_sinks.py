"""Copies of the log: CSV, TensorBoard, W&B and MLflow; none of them can disturb a run."""

import csv
import json
import threading
import time

import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.cli import main
from lenet_alexnet.errors import DataError, Diverged, Interrupted, UsageError
from lenet_alexnet.runs.metrics import MetricsLog
from lenet_alexnet.sinks import feed
from lenet_alexnet.sinks.csv_file import CsvFile
from lenet_alexnet.sinks.feed import Sinks
from lenet_alexnet.sinks.libraries import LIBRARIES, require
from lenet_alexnet.sinks.sink import About, OfSweep, figures, tagged
from lenet_alexnet.training import loop
from tests.helpers import event_files
from tests.helpers.runs import rows, stop_after
from tests.helpers.tiny_configs import make_tiny_config

HISTOGRAM = {"low": -1.0, "high": 2.0, "counts": [1, 0, 2]}


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A machine that is busy may import a library for longer than a run waits."""
    monkeypatch.setattr(feed, "LAST", 300.0)


def line(step, split="train", **more):
    row = {"step": step, "epoch": step / 10, "split": split, "loss": 1 / step, "top1_error": 0.5}
    speed = {"images_per_second": 100.0 if split == "train" else None, "learning_rate": 0.1}
    return {**row, **speed, "time": 1e9 + step, **more}


def about(tmp_path, **settings):
    config = {"data.validation": "", "train.freeze": ["C1"], "optimizer.learning_rate": 0.1}
    sweep = OfSweep(tmp_path, settings) if settings else None
    folder = tmp_path / "trial" if settings else tmp_path
    folder.mkdir(exist_ok=True)
    return About(folder=folder, config=config, sweep=sweep)


def with_log(config, *names, **more):
    with config.unlocked():
        config.log = {"to": names, **more}
    return config


def in_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_names_are_checked_and_libraries_asked_for(monkeypatch):
    require(["csv"])
    with pytest.raises(UsageError, match=r"log.to names 'tensorbord': did you mean 'tensorboard'"):
        require(["csv", "tensorbord"])
    monkeypatch.setitem(LIBRARIES, "mlflow", ("json", "no_such_library"))
    with pytest.raises(UsageError) as error:
        require(["mlflow"])
    wanted = "log.to 'mlflow' needs no_such_library: pip install 'lenet-alexnet[mlflow]'"
    assert str(error.value) == wanted


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_wrong_name_is_refused_before_anything_is_written(command, tmp_path, capsys):
    config = "lenet5_quickstart" if command == "train" else "sweeps/lenet5_lr_seeds"
    arguments = [f"--config={config}", f"--workdir={tmp_path / 'run'}", "--config.log.to=cvs"]
    assert main(["lenet-alexnet", command, *arguments]) == 2
    assert capsys.readouterr().err == "error: log.to names 'cvs': did you mean 'csv'?\n"
    assert not (tmp_path / "run").exists()


def test_what_is_logged_does_not_count_as_what_is_trained():
    plain, logged = make_tiny_config(), with_log(make_tiny_config(), "csv", norms=True)
    assert configs.config_hash(plain) == configs.config_hash(logged)
    assert configs.differences(plain, logged) == []


def test_figures_are_the_numbers_of_a_line():
    norms = {"gradient_norm": {"C1": 2.0, "C3": None}, "histograms": {"weights": {"C1": HISTOGRAM}}}
    found = {"loss": 0.25, "top1_error": 0.5, "images_per_second": 100.0, "learning_rate": 0.1}
    assert figures(line(4, **norms)) == {**found, "gradient_norm/C1": 2.0}
    assert tagged(line(4, "test")) == {"test/loss": 0.25, "test/top1_error": 0.5}
    assert "loss" not in figures(line(4) | {"loss": None})


def test_csv_has_a_row_for_each_line(tmp_path):
    file = CsvFile(about(tmp_path))
    file.begin([line(10)])
    file.write(line(10, "test", examples=7))
    file.write(line(20, gradient_norm={"C1": 3.0}))  # a new column
    file.write(line(20, "test"))
    file.close("completed")
    found = in_csv(tmp_path / "metrics.csv")
    assert [(row["step"], row["split"]) for row in found] == [
        ("10", "train"), ("10", "test"), ("20", "train"), ("20", "test"),
    ]  # fmt: skip
    assert [row["gradient_norm/C1"] for row in found] == ["", "", "3.0", ""]
    assert float(found[2]["loss"]) == 0.05
    assert found[1]["images_per_second"] == ""


def test_csv_is_not_written_through_a_link(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "metrics.csv").symlink_to(tmp_path / "mine")
    file = CsvFile(about(tmp_path))
    file.begin([line(10)])
    file.write(line(20))
    file.close()
    assert (tmp_path / "mine").read_text() == "mine"
    assert len(in_csv(tmp_path / "metrics.csv")) == 2


def test_a_follower_gets_the_lines_so_far_and_again_after_a_cut(tmp_path):
    calls = []

    class Follower:
        def begin(self, rows):
            calls.append([row["step"] for row in rows])

        def write(self, row):
            calls.append(row)

    with MetricsLog(tmp_path / "m.jsonl") as log:
        log.write(line(1))
        log.write(line(2))
    with MetricsLog(tmp_path / "m.jsonl", followers=[Follower()]) as log:
        log.write(line(2))  # It has this line.
        log.write(line(3, gradient_norm={"C1": float("inf")}))
        log.cut(1)
        log.write(line(2, loss=9.0))
    infinite = line(3, gradient_norm={"C1": None})
    assert calls == [[1, 2], infinite, [1], line(2, loss=9.0)]
    assert [row["loss"] for row in rows_of(tmp_path / "m.jsonl")] == [1.0, 9.0]


def rows_of(path):
    return [json.loads(text) for text in path.read_text().splitlines()]


class Broken:
    """A sink that fails in one of its calls."""

    def __init__(self, where):
        self.where, self.calls = where, []
        self._step("init")

    def _step(self, name):
        self.calls.append(name)
        if name == self.where:
            raise OSError(28, "No space left on device")

    def begin(self, rows):
        self._step("begin")

    def write(self, row):
        self._step("write")

    def close(self, status):
        self._step(status)


@pytest.mark.parametrize("where", ["init", "begin", "write", "completed"])
def test_a_sink_that_fails_warns_once_and_gets_nothing_more(where, tmp_path, monkeypatch, capfd):
    made = []

    def maker(name, about):
        def make():
            sink = Broken(where if name == "csv" else "")
            made.append(sink)
            return sink

        return make

    monkeypatch.setattr(feed, "_maker", maker)
    monkeypatch.setattr(feed, "require", lambda names: None)
    with Sinks(["csv", "other", "csv"], about(tmp_path)) as sinks:
        sinks.begin([])
        sinks.write(line(1))
        sinks.write(line(2))
    every = ["init", "begin", "write", "write", "completed"]
    assert every in [sink.calls for sink in made]
    warning = "log.to 'csv' fails and gets nothing more in this run: [Errno 28] No space left"
    assert capfd.readouterr().err == f"warning: {warning} on device\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [(Interrupted, "interrupted"), (Diverged, "diverged"), (DataError, "failed")],
)
def test_a_sink_gets_how_the_run_ended(error, status, tmp_path, monkeypatch):
    sink = Broken("")
    monkeypatch.setattr(feed, "_maker", lambda name, about: lambda: sink)
    with pytest.raises(error), Sinks(["csv"], about(tmp_path)):
        raise error("x")
    assert sink.calls[-1] == status


def test_a_sink_that_hangs_does_not_delay_the_run(tmp_path, monkeypatch, capfd):
    release = threading.Event()
    monkeypatch.setattr(feed, "_maker", lambda name, about: release.wait)
    monkeypatch.setattr(feed, "WAITING", 5)
    monkeypatch.setattr(feed, "LAST", 0.2)
    start = time.monotonic()
    with Sinks(["csv"], about(tmp_path)) as sinks:
        for step in range(1, 4):
            sinks.write(line(step))
        written = time.monotonic() - start
    assert written < 0.2
    assert time.monotonic() - start < 5
    assert "it does not take the last lines" in capfd.readouterr().err
    with Sinks(["csv"], about(tmp_path)) as sinks:
        for step in range(1, 9):
            sinks.write(line(step))
    assert capfd.readouterr().err.count("it is too slow") == 1
    release.set()


def test_tensorboard_has_numbers_histograms_and_the_config(tmp_path):
    from lenet_alexnet.sinks.tensorboard_events import TensorBoard

    sink = TensorBoard(about(tmp_path))
    sink.begin([])
    sink.write(line(10, histograms={"weights": {"C1": HISTOGRAM}}, update_norm={"C1": 3.0}))
    sink.close("completed")
    folder = tmp_path / "tensorboard"
    assert event_files.scalars(folder)["train/loss"] == [(10, pytest.approx(0.1))]
    assert event_files.scalars(folder)["train/update_norm/C1"] == [(10, 3.0)]
    found = {tag: value for tag, _, value in event_files.values(folder)}
    assert (
        json.loads(found["config/text_summary"].tensor.string_val[0].strip(b"`json\n"))
        == about(tmp_path).config
    )
    histogram = found["weights/C1"].histo
    # TensorBoard's buckets begin with an empty one.
    assert [count for count in histogram.bucket if count] == [1, 2]
    assert list(histogram.bucket_limit)[-3:] == [0, 1, 2]
    assert (histogram.min, histogram.max, histogram.num) == (-1, 2, 3)
    times = [event.wall_time for event in event_files.events(folder) if event.step == 10]
    assert set(times) == {1e9 + 10}


def test_tensorboard_has_each_step_once(tmp_path):
    from lenet_alexnet.sinks.tensorboard_events import TensorBoard

    folder = tmp_path / "tensorboard"
    killed = TensorBoard(about(tmp_path))
    killed.begin([])
    for step in (1, 2, 3):
        killed.write(line(step))
    resumed = TensorBoard(about(tmp_path))
    resumed.begin([line(1), line(2), line(3)])
    resumed.write(line(4))
    resumed.begin([line(1), line(2)])  # The run has gone back.
    resumed.write(line(3, loss=7.0))
    resumed.close("completed")
    killed.close("failed")
    expected = [(1, 1.0), (2, 0.5), (3, 7.0)]
    assert event_files.scalars(folder)["train/loss"] == expected
    # A TensorBoard that has read the old file drops its points.
    logs = [event for event in event_files.events(folder) if event.HasField("session_log")]
    assert [(event.step, event.session_log.status) for event in logs] == [(0, 1)]


@pytest.mark.parametrize("status", ["completed", "interrupted"])
def test_tensorboard_has_the_settings_of_a_trial(tmp_path, status):
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    from lenet_alexnet.sinks.tensorboard_events import TensorBoard

    trial = about(tmp_path, **{"optimizer.learning_rate": 0.1, "train.freeze": ("C1",)})
    sink = TensorBoard(trial)
    sink.begin([line(1)])
    sink.close(status)
    found = {
        tag: HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for tag, _, value in event_files.values(trial.folder / "tensorboard")
        if tag.startswith("_hparams_")
    }
    start = found["_hparams_/session_start_info"].session_start_info.hparams
    assert start["optimizer.learning_rate"].number_value == 0.1
    assert start["train.freeze"].string_value == "('C1',)"
    metrics = found["_hparams_/experiment"].experiment.metric_infos
    assert "test/top1_error" in [metric.name.tag for metric in metrics]
    assert ("_hparams_/session_end_info" in found) == (status == "completed")


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tensorboard").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is a link"):
        about(tmp_path).place("tensorboard")


@pytest.mark.slow
def test_a_stopped_and_resumed_run_is_logged_once(tmp_path):
    config = with_log(make_tiny_config(), "csv", "tensorboard")
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, tmp_path, stop_requested=stop_after(4))
    # Killed after the checkpoint of step 15, lines after it are computed again.
    loop.train_and_evaluate(config, tmp_path)
    log = rows(tmp_path)
    found = in_csv(tmp_path / "metrics.csv")
    assert [(int(row["step"]), row["split"]) for row in found] == [
        (row["step"], row["split"]) for row in log
    ]
    assert [float(row["loss"]) for row in found] == [row["loss"] for row in log]
    scalars = event_files.scalars(tmp_path / "tensorboard")
    for split in ("train", "test"):
        expected = [(row["step"], row["top1_error"]) for row in log if row["split"] == split]
        assert scalars[f"{split}/top1_error"] == [(s, pytest.approx(e)) for s, e in expected]
