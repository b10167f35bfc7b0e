"""Where the wall time of a run went."""

from pathlib import Path

from lenet_alexnet.report.page import Section
from lenet_alexnet.runs import wall_time
from lenet_alexnet.runtime.console import duration

KEY, TITLE = "wall_time", "Where the time went"


def tabulate(workdir: Path) -> Section:
    """The parts of the wall time over all starts of a run that has a record of it.

    Raises:
      DataError: the record is broken.
    """
    found = wall_time.split(workdir / wall_time.NAME) or {}
    total, starts, again = found["seconds"], found["starts"], found["steps_again"]
    text = f"{duration(total)} over {starts} start{'s' if starts > 1 else ''}."
    if again:
        text += f" {again:,} steps were trained again, after a kill or a divergence."
    if found["down"]:
        text += f" Between an end and the next start, {duration(found['down'])} passed."
    rows = [
        [label, f"{found[part]:,.1f} s", f"{100 * found[part] / max(total, 1e-9):.1f} %"]
        for part, label in wall_time.LABELS.items()
    ]
    return Section(KEY, TITLE, [text], table=[["part", "time", "share"], *rows])
