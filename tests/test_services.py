"""The log in W&B and MLflow, with the real libraries and without a network."""

import json

import pytest

from lenet_alexnet.errors import Interrupted
from lenet_alexnet.sinks import feed
from lenet_alexnet.sinks.sink import About, OfSweep
from lenet_alexnet.training import loop
from tests.helpers.runs import rows, stop_after
from tests.helpers.tiny_configs import make_tiny_config
from tests.helpers.wandb_files import history, records

# Both libraries use what their own dependencies will drop.
pytestmark = pytest.mark.filterwarnings("ignore")
HISTOGRAM = {"low": -1.0, "high": 2.0, "counts": [1, 0, 2]}
VARIABLES = (
    "WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_NAME", "WANDB_RUN_GROUP",
    "WANDB_BASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_variables(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    # A machine that is busy may import a library for longer than a run waits.
    monkeypatch.setattr(feed, "LAST", 300.0)


def line(step, split="train", **more):
    row = {"step": step, "epoch": step / 10, "split": split, "loss": 1 / step, "top1_error": 0.5}
    return {**row, "learning_rate": 0.1, "time": 1e9 + step, **more}


def about(tmp_path, **settings):
    folder = tmp_path / "sweep" / "trials" / "abc"
    folder.mkdir(parents=True, exist_ok=True)
    config = {"data.validation": "", "optimizer.learning_rate": 0.1}
    sweep = OfSweep(tmp_path / "sweep", settings) if settings else None
    return About(folder=folder, config=config, sweep=sweep)


def test_wandb_gets_config_settings_and_lines(tmp_path):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    from lenet_alexnet.sinks.wandb_run import WandbRun

    trial = about(tmp_path, **{"optimizer.learning_rate": 0.1})
    sink = WandbRun(trial)
    sink.begin([line(10)])
    sink.write(line(10, "test", histograms={"weights": {"C1": HISTOGRAM}}))
    sink.close("completed")
    (first, one), (second, two) = history(trial.folder)
    assert (first, second) == (0, 1)
    assert (one["step"], one["epoch"], one["train/loss"]) == (10, 1.0, 0.1)
    assert (two["step"], two["test/loss"]) == (10, 0.1)
    assert two["weights/C1/values"] == [1, 0, 2]
    assert two["weights/C1/bins"] == [-1.0, 0.0, 1.0, 2.0]
    (run,) = [r.run for r in records(trial.folder) if r.HasField("run")]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["optimizer.learning_rate"] == 0.1
    assert (run.project, run.run_group, run.display_name) == ("lenet-alexnet", "sweep", "abc")
    assert list(run.tags) == ["learning_rate=0.1"]
    (code,) = [r.exit.exit_code for r in records(trial.folder) if r.HasField("exit")]
    assert code == 0


def test_wandb_resumes_the_same_run_and_gets_each_line_once(tmp_path):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    from lenet_alexnet.sinks.wandb_run import WandbRun

    run = about(tmp_path)
    first = WandbRun(run)
    first.begin([])
    first.write(line(10))
    first.write(line(20))
    first.close("interrupted")
    second = WandbRun(run)
    second.begin([line(10), line(20), line(30)])  # The last one got lost in a crash.
    second.write(line(40))
    second.begin([line(10)])  # The run has gone back: W&B keeps what it has.
    second.write(line(20, loss=7.0))
    second.close("completed")
    found = list(history(run.folder))
    assert [step for step, _ in found] == [0, 1, 2, 3, 4]
    assert [numbers["step"] for _, numbers in found] == [10, 20, 30, 40, 20]
    ids = {r.run.run_id for r in records(run.folder) if r.HasField("run")}
    assert ids == {json.loads((run.folder / "wandb.json").read_text())["id"]}
    third = WandbRun(run)
    third.begin([line(10), line(20)])
    third.close("completed")
    assert len(list(history(run.folder))) == 5


def test_wandb_is_offline_without_a_key_or_a_network(monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    from lenet_alexnet.sinks import wandb_run

    tried = []

    def connect(address, timeout):
        tried.append((address, timeout))
        raise OSError("no network")

    monkeypatch.setattr(wandb_run.socket, "create_connection", connect)
    assert wandb_run._mode() == "offline"
    assert tried == []  # Without a key there is nothing to try.
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert wandb_run._mode() == "offline"
    assert len(tried) == 1

    class Connection:
        def close(self):
            pass

    monkeypatch.setattr(wandb_run.socket, "create_connection", lambda *a, **k: Connection())
    assert wandb_run._mode() is None  # as W&B decides: online


def test_wandb_mode_is_respected(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    from lenet_alexnet.sinks.wandb_run import WandbRun

    monkeypatch.setenv("WANDB_MODE", "disabled")
    sink = WandbRun(about(tmp_path))
    sink.begin([line(10)])
    sink.close("completed")
    assert not list(history(about(tmp_path).folder))


def client(folder):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")


def stored(folder, store=None):
    """The run of a folder as MLflow has it, and the lines of a metric."""
    found = client(store or folder)
    run_id = json.loads((folder / "mlflow.json").read_text())["id"]

    def metric(name):
        return sorted((m.step, m.value) for m in found.get_metric_history(run_id, name))

    return found.get_run(run_id), metric


def test_mlflow_gets_config_settings_and_lines(tmp_path):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from lenet_alexnet.sinks.mlflow_run import MlflowRun

    trial = about(tmp_path, **{"optimizer.learning_rate": 0.1})
    sink = MlflowRun(trial)
    sink.begin([line(10)])
    sink.write(line(10, "test", gradient_norm={"C1": 3.0}))
    sink.close("completed")
    run, metric = stored(trial.folder, tmp_path / "sweep")  # The trials of a sweep share a store.
    assert metric("train/loss") == [(10, 0.1)]
    assert metric("test/gradient_norm/C1") == [(10, 3.0)]
    assert run.data.params["optimizer.learning_rate"] == "0.1"
    assert run.data.tags["optimizer.learning_rate"] == "0.1"
    assert run.data.tags["sweep"] == "sweep"
    assert (run.info.status, run.info.run_name) == ("FINISHED", "abc")


def test_mlflow_resumes_the_same_run_and_gets_each_line_once(tmp_path):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from lenet_alexnet.sinks.mlflow_run import MlflowRun

    run = about(tmp_path)
    first = MlflowRun(run)
    first.begin([])
    first.write(line(10))
    first.close("interrupted")
    before, _ = stored(run.folder)
    assert before.info.status == "KILLED"
    second = MlflowRun(run)
    assert stored(run.folder)[0].info.status == "RUNNING"
    second.begin([line(10), line(10, "test"), line(20)])
    second.write(line(30))
    second.begin([line(10)])
    second.close("diverged")
    after, metric = stored(run.folder)
    assert after.info.run_id == before.info.run_id
    assert metric("train/loss") == [(10, 0.1), (20, 0.05), (30, 1 / 30)]
    assert metric("test/loss") == [(10, 0.1)]
    assert after.info.status == "FAILED"


def test_mlflow_is_where_the_variable_says(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from lenet_alexnet.sinks.mlflow_run import MlflowRun

    (tmp_path / "mlflow").mkdir()
    uri = f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    sink = MlflowRun(about(tmp_path))
    sink.begin([line(10)])
    sink.close("completed")
    run, metric = stored(about(tmp_path).folder, tmp_path)
    assert metric("train/loss") == [(10, 0.1)]
    assert client(tmp_path).get_experiment(run.info.experiment_id).name == "mine"
    assert not (about(tmp_path).folder / "mlflow").exists()


def test_a_service_that_is_down_neither_ends_nor_delays_a_run(tmp_path, monkeypatch, capfd):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config = make_tiny_config()
    with config.unlocked():
        config.log = {"to": ("mlflow",)}
    summary = loop.train_and_evaluate(config, tmp_path / "run")
    assert summary["status"] == "completed"
    assert capfd.readouterr().err.count("log.to 'mlflow' fails and gets nothing more") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_stopped_and_resumed_run_is_one_run_there(name, tmp_path):
    pytest.importorskip(name, reason=f"the extra {name} is not installed")
    config = make_tiny_config()
    with config.unlocked():
        config.log = {"to": (name,)}
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        loop.train_and_evaluate(config, folder, stop_requested=stop_after(4))
    loop.train_and_evaluate(config, folder)
    expected = [(row["step"], row["loss"]) for row in rows(folder) if row["split"] == "train"]
    if name == "mlflow":
        assert stored(folder)[1]("train/loss") == expected
    else:
        numbers = [numbers for _, numbers in history(folder)]
        assert [(n["step"], n["train/loss"]) for n in numbers if "train/loss" in n] == expected
