"""The log as a run of MLflow; a run that resumes continues it."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

from lenet_alexnet.errors import DataError
from lenet_alexnet.runs.directory import read_json, write_json
from lenet_alexnet.runs.metrics import MEASURED, Row
from lenet_alexnet.runtime import storage
from lenet_alexnet.sinks.sink import COMPLETED, INTERRUPTED, PROJECT, About, tagged

# A run tells nobody that MLflow is used, unless the user wants it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

LONGEST = 500  # characters of a parameter or tag: every version of MLflow stores them
AT_ONCE = 100  # parameters, tags or lines in a message
WAIT = 60  # seconds that a trial waits for others that write to the same database


class MlflowRun:
    """A run of MLflow, whose id is in mlflow.json.

    Without MLFLOW_TRACKING_URI it is in mlflow/mlflow.db, a database in the folder of the run or
    of its sweep.
    """

    def __init__(self, about: About) -> None:
        self._path, self._begun = about.folder / "mlflow.json", False
        with _store(about) as (uri, artifacts):
            self._client = MlflowClient(tracking_uri=uri)
            experiment = self._experiment(artifacts)
        self._id = self._resume() or self._create(experiment, about)

    def _experiment(self, artifacts: str | None) -> str:
        """The id of the experiment, which is created if it is missing."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found: Experiment | None = self._client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=artifacts))

    def _resume(self) -> str:
        """The id of this run if the store has it; else ""."""
        if not self._path.exists():
            return ""
        known = str(read_json(self._path, "id", id=str)["id"])
        try:
            self._client.update_run(known, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return ""  # It is in another store.
        return known

    def _create(self, experiment: str, about: About) -> str:
        tags = {"sweep": about.group, **about.settings} if about.sweep else {}
        made = self._client.create_run(experiment, run_name=about.folder.name)
        params = [Param(key, _short(value)) for key, value in about.config.items()]
        for some in _parts(params):
            self._client.log_batch(made.info.run_id, params=some)
        for some in _parts([RunTag(key, _short(value)) for key, value in tags.items()]):
            self._client.log_batch(made.info.run_id, tags=some)
        write_json(self._path, {"id": made.info.run_id})
        return str(made.info.run_id)

    def begin(self, rows: list[Row]) -> None:
        """Sends the lines that the store does not have."""
        if self._begun:
            return
        known = {
            (metric.step, split)
            for split in MEASURED
            for metric in self._client.get_metric_history(self._id, f"{split}/loss")
        }
        missing = [row for row in rows if (row["step"], row["split"]) not in known]
        for some in _parts(missing):
            self._send(some)
        self._begun = True

    def write(self, row: Row) -> None:
        """Sends a line."""
        self._send([row])

    def _send(self, rows: Iterable[Row]) -> None:
        metrics = [
            Metric(tag, number, int(1000 * row["time"]), row["step"])
            for row in rows
            for tag, number in tagged(row).items()
        ]
        for some in _parts(metrics, 10 * AT_ONCE):
            self._client.log_batch(self._id, metrics=some)

    def close(self, status: str) -> None:
        """Ends the run."""
        ends = {COMPLETED: "FINISHED", INTERRUPTED: "KILLED"}
        self._client.set_terminated(self._id, ends.get(status, "FAILED"))


def _short(value: Any) -> str:
    return str(value)[:LONGEST]


def _parts(items: list[Any], most: int = AT_ONCE) -> Iterator[list[Any]]:
    return (items[i : i + most] for i in range(0, len(items), most))


@contextlib.contextmanager
def _store(about: About) -> Iterator[tuple[str, str | None]]:
    """The tracking URI, and where artifacts would be; a database is made by one trial at a time."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        yield uri, None
        return
    folder = about.place("mlflow", shared=True).absolute()
    database = folder / "mlflow.db"
    if database.is_symlink():
        raise DataError(f"'{database}' is a link")
    with storage.open_here(folder / ".lock", "a") as file:
        storage.lock(file, wait=True)
        yield f"sqlite:///{database}?timeout={WAIT}", (folder / "artifacts").as_uri()
