"""The command `doctor`."""

import json
from collections import Counter
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import Command, define_json, no_more
from lenet_alexnet.runtime import backend


def define(values: flags.FlagValues) -> None:
    """The flags of `doctor`."""
    define_json(values)
    flags.DEFINE_string("data_dir", "", "where prepared data sets live", flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Examines the machine; returns 1 if something will fail on it."""
    no_more(rest)
    backend.set_up()
    from lenet_alexnet.doctor import data_sets, machine, software

    found = []
    for part in (software.examine(), machine.examine(), data_sets.examine(values.data_dir)):
        for finding in part:
            found.append(finding)
            if not values.json:
                print(finding, flush=True)
    kinds = Counter(finding.kind for finding in found)
    if values.json:
        print(json.dumps([finding.as_dict() for finding in found]))
    else:
        print(f"\n{kinds['ok']} ok, {kinds['slow']} slow, {kinds['fails']} will fail")
    return 1 if kinds["fails"] else 0


COMMAND = Command(
    help="examines this machine: devices, compiler, caches, data; what to mend",
    usage="[--data_dir=DIR] [--json]",
    define=define,
    run=run,
)
