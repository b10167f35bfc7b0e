"""What a sweep would do and cost, without starting anything."""

import functools
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from lenet_alexnet.config.durations import to_steps
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.runs.directory import read_summary
from lenet_alexnet.runtime.console import duration
from lenet_alexnet.sweep.expand import Trial
from lenet_alexnet.sweep.local import Job
from lenet_alexnet.sweep.trials import COMPLETED, Sweep

MOST_ROWS = 40
COSTS = ("model.", "data.", "train.batch_size", "train.duration")
_examples: dict[str, int] = {}


def check(trials: Sequence[Trial]) -> None:
    """Builds each trial as `train` does; of trials that differ only in numbers, one.

    Missing data are no error: jobs may run on another machine.

    Raises:
      UsageError: as `train` would, with the overrides of the trial.
    """
    from lenet_alexnet.training import warm_start
    from lenet_alexnet.training.experiment import build

    checked = set()
    for trial in trials:
        kind = json.dumps(
            [
                key if isinstance(value, float) or key == "seed" else (key, value)
                for key, value in trial.flat.items()
            ]
        )
        if kind in checked:  # `expand` has checked the range of each number.
            continue
        checked.add(kind)
        try:
            warm_start.read(trial.config, build(trial.config, read=_load))
        except UsageError as error:
            overrides = " ".join(f"{key}={value}" for key, value in trial.overrides.items())
            raise UsageError(f"trial {trial.id} ({overrides}): {error}") from error
        except DataError:
            continue  # `describe` reports it.


def _load(config: Any, split: str) -> Any:
    return _split(json.dumps(config.data.to_dict(), sort_keys=True), split)


@functools.lru_cache(maxsize=8)
def _split(data: str, split: str) -> Any:
    from lenet_alexnet.training.builders import load

    return load(ConfigDict({"data": json.loads(data)}), split)


def describe(sweep: Sweep, trials: Sequence[Trial], jobs: Sequence[Job], executor: str) -> str:
    """The trials, how they are grouped, and the training images, multiply-adds and time of each."""
    place = {name: i for i, job in enumerate(jobs) for name in job}
    lines = []
    for trial in trials[:MOST_ROWS]:
        where = f"job {place[trial.id]}" if trial.id in place else sweep.status(trial.id)[0]
        overrides = " ".join(f"{key}={value}" for key, value in trial.overrides.items())
        lines.append(f"{trial.id}  {where:<10} {overrides}")
    if len(trials) > MOST_ROWS:
        lines.append(f"... and {len(trials) - MOST_ROWS} more")
    done = len(trials) - len(place)
    lines.append(f"{len(trials)} trials, {done} already ended, {len(place)} to run")
    groups = [len(job) for job in jobs if len(job) > 1]
    sizes = ", ".join(f"{n} of {size}" for size, n in sorted(Counter(groups).items()))
    if groups:
        lines.append(f"as one program each: {sizes} trials ({executor})")
    if len(jobs) > len(groups):
        lines.append(f"as a process each: {len(jobs) - len(groups)} trials ({executor})")
    return "\n".join([*lines, *_cost(sweep, [t for t in trials if t.id in place], trials)])


def _cost(sweep: Sweep, left: Sequence[Trial], trials: Sequence[Trial]) -> list[str]:
    found: dict[str, tuple[int, int]] = {}  # images and multiply-adds, by what they depend on
    kinds = []
    for trial in left:
        kinds.append(json.dumps([item for item in trial.flat.items() if item[0].startswith(COSTS)]))
        if kinds[-1] in found:
            continue
        try:
            images_each = training_images(trial.config)
        except DataError as error:
            return [f"cost unknown, not checked against the data: {error}"]
        model = json.dumps(trial.config.model.to_dict(), sort_keys=True)
        found[kinds[-1]] = images_each, multiply_adds(model)
    images = [found[kind][0] for kind in kinds]
    work = 6e-12 * sum(found[kind][0] * found[kind][1] for kind in kinds)
    lines = [f"to train: {sum(images):,} images, {work:,.3g} TFLOP"]
    speeds = []
    for trial in trials:
        if sweep.status(trial.id)[0] == COMPLETED:
            summary = read_summary(sweep.folder(trial.id) / "summary.json")
            seconds = summary["train_seconds"] / summary.get("side_by_side", 1)
            speeds.append(training_images(trial.config) / max(seconds, 1e-3))
    if speeds:
        seconds = sum(images) / statistics.median(speeds)
        lines.append(f"about {duration(seconds)} of one device, by the trials that ended")
    return lines


def training_images(config: Any) -> int:
    """How many images a run trains on, over all passes."""
    batch = config.train.batch_size
    return batch * to_steps(config.train.duration, batch_size=batch, examples=examples(config))


def total_epochs(config: Any) -> float:
    """The number of passes over the training set."""
    return training_images(config) / examples(config)


def examples(config: Any) -> int:
    """The size of the training set; each set is read once."""
    key = json.dumps(config.data.to_dict(), sort_keys=True)
    if key not in _examples:
        _examples[key] = len(_load(config, config.data.train))
    return _examples[key]


@functools.cache
def multiply_adds(model: str) -> int:
    """The multiply-adds of one image's forward pass; a training step takes three times that."""
    from lenet_alexnet.info import network as info
    from lenet_alexnet.models import create_model

    network = create_model(**json.loads(model))
    return info.describe(network, network.input_shape)["total_multiply_adds"]
