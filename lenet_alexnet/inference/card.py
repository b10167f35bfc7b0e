"""The card of a trained network: where it comes from, and its errors."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lenet_alexnet.data import Dataset
from lenet_alexnet.data.sources import embedded
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.inference.open_run import TrainedRun, load_named
from lenet_alexnet.inference.read_images import reads_digits
from lenet_alexnet.runs.directory import read_json, read_summary
from lenet_alexnet.runtime.console import say
from lenet_alexnet.training.builders import build_views
from lenet_alexnet.training.scoring import make_scores
from lenet_alexnet.training.state import rank

RECORDED = ("package_version", "git_commit", "git_dirty", "seed", "config_hash")


def make(workdir: Path, run: TrainedRun) -> dict[str, Any]:
    """A run's card, which JSON can hold; every number is read from the run or measured now.

    The entries: "config_file", the name of the config; "config", all entries; "git_commit", "seed"
    and more of run.json; "step", "checkpoint"; "test" (or "validation"), the errors on the run's
    data, of photos those in its summary; "embedded", the errors on the 1,000 test digits inside the
    package, which show whether a copy of the file still answers the same.

    Args:
      workdir: the run's folder.
      run: opened there.
    """
    record = read_json(workdir / "run.json")
    config = run.config.to_dict()
    config["data"]["data_dir"] = ""  # It is a place on one machine.
    card = {
        "config_file": _config_file(record),
        "config": config,
        **{key: record[key] for key in RECORDED if key in record},
        "step": run.step,
        "checkpoint": run.chosen,
    }
    split = "test" if run.config.data.test else "validation"
    try:
        if "photo" in run.config.data:  # Many: to measure again may take hours.
            card[split] = _summarized(workdir, run, split)
        else:
            card[split] = count_errors(run, load_named(run, split))
    except (DataError, UsageError) as error:
        say(f"warning: the card has no errors on the {split} split: {error}")
    if reads_digits(run):
        card["embedded"] = count_errors(run, embedded.read("test"))
    return card


def count_errors(run: TrainedRun, data: Dataset) -> dict[str, Any]:
    """A network's errors on data, counted as in `eval`: in total and by class."""
    views = build_views(run.config, statistics=run.statistics)
    scores = make_scores(run.model, run.preprocess, views)

    @jax.jit
    def ranks(variables: Any, images: Any, labels: Any) -> Any:
        return rank(scores(variables, images), labels)

    size, variables = min(run.config.eval.batch_size, len(data)), jax.device_put(run.variables)
    wrong, every = np.zeros((2, len(data.class_names)), np.int64)
    for start in range(0, len(data), size):
        index = np.arange(start, min(start + size, len(data)))
        # The last batch repeats an example, so that one program fits all.
        images, labels = data.read(np.pad(index, (0, size - len(index)), mode="edge"))
        missed = np.asarray(ranks(variables, jnp.asarray(images), jnp.asarray(labels))) >= 1
        np.add.at(every, labels[: len(index)], 1)
        np.add.at(wrong, labels[: len(index)], missed[: len(index)])
    counts = zip(data.class_names, wrong.tolist(), every.tolist(), strict=True)
    return {
        "top1_error": int(wrong.sum()) / len(data),
        "examples": len(data),
        "by_class": {name: {"errors": n, "examples": of} for name, n, of in counts},
    }


def _summarized(workdir: Path, run: TrainedRun, split: str) -> dict[str, Any]:
    """The errors on a split in a run's summary; UsageError if they are not of this checkpoint."""
    summary = read_summary(workdir / "summary.json")
    if summary.get("step") != run.step or split not in summary.get("eval", {}):
        raise UsageError("its summary has none of this checkpoint")
    return {key: summary["eval"][split][key] for key in ("top1_error", "examples")}


def _config_file(record: dict[str, Any]) -> str:
    """The name of the config file of a run, "" if its command does not name one."""
    command = record.get("command") or []
    paths = [str(word).partition("=")[2] for word in command if str(word).startswith("--config=")]
    return Path(paths[0]).stem if paths else ""
