"""The command `data`: prepares, lists and checks data sets."""

from typing import Any

from absl import flags

from lenet_alexnet.cli.command import Command
from lenet_alexnet.errors import DataError, UsageError, nearest


def define(values: flags.FlagValues) -> None:
    """The flags of `data`."""
    flags.DEFINE_string("from", None, "the folder of the files to prepare", flag_values=values)
    flags.DEFINE_string("data_dir", "", "where prepared data sets live", flag_values=values)
    flags.DEFINE_string("name", None, "photos: name of a folder's data set", flag_values=values)
    flags.DEFINE_integer("size", None, "photos: side of the images (256)", 1, flag_values=values)
    flags.DEFINE_string("store", None, "photos: raw or jpeg (raw)", flag_values=values)
    flags.DEFINE_integer("jobs", None, "photos: processes (one per core)", 1, flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Prepares, lists or checks; returns the exit code."""
    from lenet_alexnet.data.prepare import datasets
    from lenet_alexnet.data.sources import prepared

    action, *names = rest or [""]
    actions = ("prepare", "list", "check")
    if action not in actions:
        raise UsageError(f"unknown action '{action}': {nearest(action, actions)}")
    data_dir = values.data_dir or str(prepared.default_dir())
    if action == "list":
        for name, folder in prepared.folders(data_dir).items():
            try:
                sizes = prepared.sizes(folder)
            except DataError as error:  # A set that we did not prepare.
                print(f"{name:<20} {error}")
                continue
            counts = ", ".join(f"{split} {n:,}" for split, n in sizes.items())
            print(f"{name:<20} {counts}  {folder}")
        return 0
    if len(names) != 1:
        raise UsageError(f"data {action} takes one name, e.g. data {action} mnist")
    if action == "prepare":
        given = {k: values[k].value for k in ("name", "size", "store", "jobs") if values[k].present}
        source = values["from"].value
        print(datasets.prepare(names[0], source=source, data_dir=data_dir, **given))
        return 0
    known = prepared.folders(data_dir)
    if names[0] not in known:
        raise UsageError(f"no prepared data set '{names[0]}' in '{data_dir}'")
    print(f"{names[0]}: {datasets.check(known[names[0]])}")
    return 0


COMMAND = Command(
    help="prepares, lists and checks data sets",
    usage="prepare NAME [--from=DIR] [...] | list | check NAME [--data_dir=DIR]",
    define=define,
    run=run,
)
