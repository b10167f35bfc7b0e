"""The log as a run of W&B; a run that resumes continues it."""

import netrc
import os
import socket
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import wandb

from lenet_alexnet.runs.directory import read_json, write_json
from lenet_alexnet.runs.metrics import Row
from lenet_alexnet.sinks.sink import COMPLETED, INTERRUPTED, PROJECT, About, tagged

ANSWER = 3.0  # seconds that the service may take to answer
INIT = 60.0  # seconds that it may take to open the run
NOTED = 5.0  # seconds between two notes of what was sent


class WandbRun:
    """A run of W&B, whose id is in wandb.json; without WANDB_MODE offline if it must be.

    wandb.json also has the number of lines sent, so that none is sent twice. Lines from before
    the run went back stay: W&B forgets nothing.
    """

    def __init__(self, about: About) -> None:
        self._path, self._begun, self._noted = about.folder / "wandb.json", False, 0.0
        self._note: dict[str, Any] = {"id": uuid.uuid4().hex[:8], "lines": 0, "sent": 0}
        if self._path.exists():
            self._note = read_json(self._path, *self._note, id=str, lines=int, sent=int)
        else:
            write_json(self._path, self._note)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", about.folder.name),
            group=os.environ.get("WANDB_RUN_GROUP", about.group),
            id=self._note["id"],
            resume="allow",
            dir=str(about.place("wandb").parent),
            config=dict(about.config),
            tags=[
                f"{key.rpartition('.')[2]}={value}"[:64] for key, value in about.settings.items()
            ],
            mode=os.environ.get("WANDB_MODE") or _mode(),
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, init_timeout=INIT),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def begin(self, rows: list[Row]) -> None:
        """Sends the lines that were not sent yet."""
        for row in () if self._begun else rows[self._note["lines"] :]:
            self.write(row)
        self._begun = True
        self._write_note(lines=len(rows))

    def write(self, row: Row) -> None:
        """Sends a line."""
        found = {
            f"{what}/{layer}": wandb.Histogram(np_histogram=_bins(histogram))
            for what, layers in row.get("histograms", {}).items()
            for layer, histogram in layers.items()
            if None not in (histogram["low"], histogram["high"])
        }
        place = {"step": row["step"], "epoch": row["epoch"]}
        self._run.log({**place, **tagged(row), **found}, step=self._note["sent"])
        self._note |= {"sent": self._note["sent"] + 1, "lines": self._note["lines"] + 1}
        if time.monotonic() - self._noted > NOTED:
            self._write_note()

    def close(self, status: str) -> None:
        """Ends the run; one that was interrupted may be continued."""
        self._write_note()
        if status == INTERRUPTED:
            self._run.mark_preempting()
        self._run.finish(exit_code=0 if status == COMPLETED else 1)

    def _write_note(self, **changes: int) -> None:
        self._note |= changes
        write_json(self._path, self._note)
        self._noted = time.monotonic()


def _bins(histogram: dict[str, Any]) -> tuple[list[int], list[float]]:
    counts = histogram["counts"]
    return counts, np.linspace(histogram["low"], histogram["high"], len(counts) + 1).tolist()


def _mode() -> str | None:
    """ "offline" if no key is known, which W&B would ask for, or if the service does not answer."""
    place = urlsplit(wandb.setup().settings.base_url)
    host = place.hostname or ""
    try:
        known = os.environ.get("WANDB_API_KEY") or netrc.netrc().authenticators(host)
        if not known:
            return "offline"
        port = place.port or (443 if place.scheme == "https" else 80)
        socket.create_connection((host, port), timeout=ANSWER).close()
    except (OSError, netrc.NetrcParseError):
        return "offline"
    return None
