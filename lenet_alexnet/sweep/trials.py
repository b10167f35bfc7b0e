"""A sweep's folder: one run directory per trial, and the status of each."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.runs import wall_time
from lenet_alexnet.runs.directory import read_json, read_summary, write_json
from lenet_alexnet.runs.metrics import read_rows
from lenet_alexnet.runtime import storage
from lenet_alexnet.sweep.expand import Override, Trial

COMPLETED, DIVERGED, FAILED, KILLED = "completed", "diverged", "failed", "killed"
STOPPED, PARTIAL, PENDING = "stopped", "partial", "pending"
BROKEN = (DIVERGED, FAILED, KILLED)
ENDED = (COMPLETED, STOPPED, *BROKEN)
END = "end.json"  # in the folder of a trial that failed, was killed or was stopped
# What a diverged trial leaves that must not be there when it starts again, and the ids of its runs
# in W&B and MLflow.
RESULTS = ("checkpoints", "summary.json", "metrics.jsonl", "step_sizes.jsonl", wall_time.NAME)
IDS = ("wandb.json", "mlflow.json")


class Sweep:
    """The folder: trials/<hash of the config>/ are runs, sweep.json identifies the sweep."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: IO[str] | None = None

    def open(self, base: ConfigDict, file: str) -> None:
        """Creates the folder, or verifies that it holds this sweep, and locks it.

        Raises:
          UsageError: not writable, a run's or another sweep's folder, or another active launcher.
        """
        if (self.root / "config.json").exists():
            raise UsageError(
                f"workdir '{self.root}' holds a run, not a sweep: name another workdir"
            )
        try:
            (self.root / "trials").mkdir(parents=True, exist_ok=True)
            (self.root / "logs").mkdir(exist_ok=True)
            for path in (self.root / "trials", self.root / "logs"):
                if path.is_symlink():
                    raise UsageError(f"'{path}' is a link, perhaps to files that are no sweep's")
            self.check(base)
            self._lock = lock(self.root / ".lock", wait=False)
        except OSError as error:
            raise UsageError(f"workdir '{self.root}' is not writable: {error.strerror}") from error
        if self._lock is None:
            raise UsageError(f"another launcher is at work in '{self.root}'")
        write_json(self.root / "sweep.json", {"file": file, "base": base.to_dict()})

    def close(self) -> None:
        """Releases the lock."""
        if self._lock is not None:
            self._lock.close()

    def check(self, base: ConfigDict) -> None:
        """Raises UsageError if the folder holds a sweep over another config."""
        if (self.root / "sweep.json").exists():
            written = read_json(self.root / "sweep.json", "base", base=dict)["base"]
            changed = configs.differences(written, base)
            if changed:
                raise UsageError(
                    f"workdir '{self.root}' holds another sweep ({'; '.join(changed)}): "
                    "name another workdir"
                )

    def folder(self, trial_id: str) -> Path:
        """The run directory of a trial."""
        return self.root / "trials" / trial_id

    def log_file(self, name: str) -> Path:
        """The file for a process's output."""
        return self.root / "logs" / f"{name}.log"

    def add(self, trial: Trial) -> None:
        """Writes trial.json, from which a separate process trains the trial."""
        folder = self.folder(trial.id)
        folder.mkdir(exist_ok=True)
        content = {"overrides": trial.overrides, "config": trial.config.to_dict()}
        write_json(folder / "trial.json", content)

    def list_trials(self, trials: Sequence[Trial]) -> None:
        """Writes the ids of the trials that belong to the sweep now, in their order."""
        write_json(self.root / "list.json", {"trials": [trial.id for trial in trials]})

    def listed(self) -> list[str]:
        """What `list_trials` wrote; without it (of a search, for example) all trials stored."""
        path = self.root / "list.json"
        if not path.exists():
            return self.stored()
        return read_json(path, "trials", trials=list)["trials"]

    def read(self, trial_id: str) -> tuple[Override, ConfigDict]:
        """The overrides and the config that `add` wrote."""
        path = self.folder(trial_id) / "trial.json"
        content = read_json(path, "overrides", "config", overrides=dict, config=dict)
        return content["overrides"], ConfigDict(content["config"])

    def trial(self, trial_id: str) -> Trial:
        """A stored trial; UsageError if its trial.json is damaged or of another trial."""
        overrides, config = self.read(trial_id)
        trial = Trial(overrides, configs.flatten(config), config)
        if trial.id != trial_id:
            raise UsageError(f"'{self.folder(trial_id)}' holds the trial.json of {trial.id}")
        return trial

    def status(self, trial_id: str) -> tuple[str, str]:
        """One of the states above, and the error of a broken trial."""
        folder = self.folder(trial_id)
        if (folder / END).exists():
            end = read_json(folder / END, "status", "error", status=str, error=str)
            if end["status"] not in ENDED:
                raise UsageError(f"cannot read '{folder / 'end.json'}': status {end['status']!r}")
            return end["status"], end["error"]
        if (folder / "summary.json").exists():
            summary = read_summary(folder / "summary.json")
            if summary["status"] == DIVERGED:
                return DIVERGED, f"not finite at step {summary['step']}"
            if summary["status"] == COMPLETED:
                return COMPLETED, ""
        return (PARTIAL if (folder / "config.json").exists() else PENDING), ""

    def end(self, trial_id: str, status: str, error: str = "") -> None:
        """Records that a trial failed, was killed or was stopped."""
        write_json(self.folder(trial_id) / END, {"status": status, "error": error})

    def forget(self, trial_id: str) -> None:
        """Makes a broken trial run again; a diverged one restarts from step 0."""
        folder = self.folder(trial_id)
        if self.status(trial_id)[0] == DIVERGED:
            for name in (*RESULTS, *IDS):
                path = folder / name
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        (folder / END).unlink(missing_ok=True)

    def stored(self) -> list[str]:
        """The ids of all trials in the folder, also of those that are no longer in the list."""
        return sorted(path.parent.name for path in self.root.glob("trials/*/trial.json"))

    def saved_steps(self, trial_id: str) -> set[int]:
        """The steps of a trial's checkpoints."""
        folder = self.folder(trial_id) / "checkpoints"
        if not folder.is_dir():
            return set()
        return {int(path.name) for path in folder.iterdir() if path.name.isdigit()}

    def metrics_file(self, trial_id: str) -> Path:
        """The log of a trial."""
        return self.folder(trial_id) / "metrics.jsonl"

    def rows(self, trial_id: str) -> list[dict[str, Any]]:
        """The lines of a trial's metrics.jsonl so far."""
        return read_rows(self.metrics_file(trial_id))


def lock(path: Path, *, wait: bool) -> IO[str] | None:
    """The file, locked until it is closed or the process ends; None if taken and not `wait`."""
    file = storage.open_here(path, "a")
    try:
        storage.lock(file, wait=wait)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def selecting_split(flat: Mapping[str, Any]) -> str:
    """The split that selects, by a config's leaves: validation, or test if there is none."""
    return "validation" if flat["data.validation"] else "test"


def stop(sweep: Sweep, trial_id: str) -> str:
    """Stops one trial, also while it trains: it saves, and is not run again.

    Returns the status that it had.

    Raises:
      UsageError: there is no such trial, or it has ended.
    """
    known = sweep.stored()
    if trial_id not in known:
        raise UsageError(f"no trial '{trial_id}' in '{sweep.root}': {nearest(trial_id, known)}")
    status, _ = sweep.status(trial_id)
    if status in ENDED:
        raise UsageError(f"trial {trial_id} has already ended: {status}")
    sweep.end(trial_id, STOPPED, "as requested")
    return status


def remaining(sweep: Sweep, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that have not ended."""
    return [trial for trial in trials if sweep.status(trial.id)[0] not in ENDED]
