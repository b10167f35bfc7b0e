"""What a command is, and the flags and checks that several commands share."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime.heartbeat import STUCK_AFTER

LISTED = 20  # classes, those with the largest errors first

OPTIONAL = "optional"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A sub-command of `lenet-alexnet`.

    Attributes:
      help: what it does, in one line.
      usage: what follows its name.
      define: adds its flags.
      run: (the flags' values, the other arguments) -> the exit code.
      config: whether it takes --config=FILE and its overrides; OPTIONAL: it may be left out.
    """

    help: str
    usage: str
    define: Callable[[flags.FlagValues], None]
    run: Callable[[Any, list[str]], int]
    config: bool | str = False


def define_workdir(values: flags.FlagValues) -> None:
    """--workdir."""
    flags.DEFINE_string("workdir", None, "the run's folder", flag_values=values)


def define_model(values: flags.FlagValues) -> None:
    """--model."""
    help = "in place of --workdir: a trained network of the package (see models), or a file of ours"
    flags.DEFINE_string("model", None, help, flag_values=values)


def define_json(values: flags.FlagValues) -> None:
    """--json."""
    flags.DEFINE_bool("json", False, "print JSON instead of a table", flag_values=values)


def define_plan(values: flags.FlagValues) -> None:
    """--plan."""
    help = (
        "print time, memory and disk, from a few timed steps in a temporary folder; start nothing"
    )
    flags.DEFINE_bool("plan", False, help, flag_values=values)


def print_plan(planned: Sequence[Any], *, as_json: bool) -> None:
    """Prints what programs will take, as a table or as JSON."""
    from lenet_alexnet.plan import outline

    plan = outline.outline(planned)
    print(json.dumps(plan) if as_json else outline.as_table(plan))


def define_other_bits(values: flags.FlagValues) -> None:
    """--allow-other-bits."""
    help = "resume a run even where its numbers are not computed to the same bits"
    flags.DEFINE_bool("allow-other-bits", False, help, flag_values=values)


def define_stuck_after(values: flags.FlagValues) -> None:
    """--stuck-after."""
    help = "seconds without progress after which a run is ended with code 75 (0: never); for phases"
    help += " that may be long, a multiple"
    flags.DEFINE_integer("stuck-after", STUCK_AFTER, help, 0, flag_values=values)


def define_checkpoint(values: flags.FlagValues) -> None:
    """--checkpoint."""
    choice = "best, last, or auto: best if chosen on a validation split, else last"
    flags.DEFINE_enum("checkpoint", "auto", ["auto", "best", "last"], choice, flag_values=values)


def define_split(values: flags.FlagValues) -> None:
    """--split and --data_dir."""
    which = "train, validation or test (default: the last one that exists)"
    flags.DEFINE_string("split", "", which, flag_values=values)
    flags.DEFINE_string("data_dir", "", "where the data is now", flag_values=values)


def places(values: Any, *, several: bool = False) -> list[Path]:
    """The folders of --workdir, or the files of --model: exactly one of these flags is needed.

    Args:
      values: the flags' values.
      several: whether a list, with commas, may be given.

    Raises:
      UsageError: none, both, or a name that no trained network has.
    """
    if values.model is None:
        require(values, "workdir")
        return [Path(word) for word in (values.workdir.split(",") if several else [values.workdir])]
    require(values, "model")
    if values.workdir is not None:
        raise UsageError("--model and --workdir both name a network: give one of them")
    from lenet_alexnet.inference import bundled

    return [bundled.find(word) for word in (values.model.split(",") if several else [values.model])]


def of_classes(result: Mapping[str, Any]) -> list[str]:
    """Lines on the classes of an evaluated split: the balanced accuracy, the errors of the worst.

    `result`: as from `evaluation.results`.
    """
    found = [one for one in result["by_class"] if one["examples"]]
    found.sort(key=lambda one: -one["errors"] / one["examples"])
    lines = [f"balanced accuracy {100 * result['balanced_accuracy']:.2f} %, errors by class:"]
    width = max(len(one["class"]) for one in found[:LISTED])
    lines += [
        f"  {one['class']:<{width}}  {100 * one['errors'] / one['examples']:6.2f} %, "
        f"{one['errors']:,} of {one['examples']:,}"
        for one in found[:LISTED]
    ]
    return lines + ([f"  and {len(found) - LISTED:,} more"] if len(found) > LISTED else [])


def require(values: flags.FlagValues, *names: str) -> None:
    """Raises UsageError if one of these flags is missing or empty."""
    for name in names:
        if not values[name].value:
            raise UsageError(f"--{name} is {'missing' if values[name].value is None else 'empty'}")


def no_more(rest: list[str]) -> None:
    """Raises UsageError if an argument is not a flag."""
    if rest:
        raise UsageError(f"'{rest[0]}' is not expected here: flags start with --")
