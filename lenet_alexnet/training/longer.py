"""A run that is made longer: `train.duration` grows, and the same folder resumes."""

from collections.abc import Mapping
from typing import Any

from lenet_alexnet.errors import UsageError
from lenet_alexnet.optimizers.schedules import WITH_RUN
from lenet_alexnet.runs import integrity
from lenet_alexnet.runs.directory import RunDirectory, write_json
from lenet_alexnet.runtime.console import first_process, say
from lenet_alexnet.training.builders import build_optimizer
from lenet_alexnet.training.experiment import Experiment


def grow(
    run: RunDirectory, config: Any, e: Experiment, facts: Mapping[str, Any], *, completed: bool
) -> dict[str, Any]:
    """Reopens a run for its new duration and reports what changes.

    Args:
      run: its folder, with another `former_duration`.
      config, e: of the longer run.
      facts: of the run, see `fingerprint.facts`.
      completed: whether it has ended.

    Returns the entry "ended" of run.json: the steps of checkpoints with which the run has ended.

    Raises:
      UsageError: the duration is not longer, or the rates of the steps so far would change.
    """
    before, now = run.former_duration, config.train.duration
    old, new = e.in_steps(before), e.schedule.total
    if new <= old:
        raise UsageError(
            f"workdir '{run.folder}' holds a run of {before} ({old:,} steps), and train.duration "
            f"{now} ({new:,} steps) is not longer: name another workdir"
        )
    _check_schedules(run, config, e, old)
    say(
        f"the run is made longer: {before} -> {now}, {old:,} -> {new:,} steps; its first {old:,} "
        f"steps stay, the learning rate is {e.rate(old):.3g} after them and {e.rate(new - 1):.3g} "
        "at the end"
    )
    ended = [*facts.get("ended", ())]
    saved = integrity.saved(run.folder / "checkpoints")
    ended += [one.step for one in saved if one.step == old and not integrity.problem(one.folder)]
    done = run.summary()
    if completed and done and first_process():
        # In this order a kill in between leaves a run that is complete or can resume.
        write_json(run.folder / "run.json", {**run.begun(), "ended": ended})
        run.write_summary({**done, "status": "interrupted", "eval": {}})
    return {"ended": ended} if ended else {}


def _check_schedules(run: RunDirectory, config: Any, e: Experiment, old: int) -> None:
    """Raises UsageError for a schedule that ends with the run."""
    for key in ("schedule", "bias_schedule"):
        name = (config.optimizer.get(key) or {"name": ""})["name"]
        if name in WITH_RUN:
            shorter = config.copy_and_resolve_references().unlock()
            shorter.train.duration, half = run.former_duration, old // 2
            rate = float(build_optimizer(shorter, len(e.train_data)).rate(half))
            rates = f" (after {half:,}: {rate:.3g} -> {e.rate(half):.3g})"
            raise UsageError(
                f"workdir '{run.folder}' holds a run of {run.former_duration}, and the "
                f"optimizer.{key} '{name}' ends with the run: with {config.train.duration}, the "
                f"rates of its {old:,} steps change{rates if key == 'schedule' else ''}; name "
                "another workdir, or start there from these weights by train.init_from"
            )
