"""A plan as text and for JSON."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lenet_alexnet.plan.estimate import as_dict, disk_bytes, estimate, makespan
from lenet_alexnet.plan.found import Probe
from lenet_alexnet.runs import wall_time
from lenet_alexnet.runtime.console import duration


class Planned(NamedTuple):
    """A program that was timed, and the processes that run it.

    Attributes:
      name: of the network, or of a claim's set.
      probe: what was found.
      done: of each process, the steps that are saved already.
      places: how many processes run at once.
    """

    name: str
    probe: Probe
    done: Sequence[int]
    places: int = 1


def outline(planned: Sequence[Planned]) -> dict[str, Any]:
    """The programs, and the sums over all their processes: what `--plan --json` prints."""
    sums = {"seconds": 0.0, "lowest": 0.0, "highest": 0.0}
    # Programs that use the whole machine run one after the other, the rest share its places.
    shared: dict[int, list[tuple[float, float, float]]] = {}
    for one in planned:
        found = [estimate(one.probe, done) for done in one.done]
        times = [(each.seconds, each.lowest, each.highest) for each in found]
        shared.setdefault(one.places, []).extend(times)
    for places, times in shared.items():
        for key, column in zip(sums, zip(*times, strict=True), strict=True):
            sums[key] += makespan(column, places)
    programs = [
        {"name": one.name, "processes": len(one.done)} | as_dict(one.probe, min(one.done))
        for one in planned
    ]
    disk = sum(disk_bytes(one.probe) * len(one.done) for one in planned)
    return {"programs": programs, **sums, "disk_bytes": disk}


def as_table(plan: dict[str, Any]) -> str:
    """`outline` as text."""
    if not plan["programs"]:
        return "nothing is left to train"
    blocks = ["\n".join(_program(program)) for program in plan["programs"]]
    if sum(program["processes"] for program in plan["programs"]) > 1:
        blocks.append(f"in all {_range(plan)}, {_bytes(plan['disk_bytes'])} on the disk")
    return "\n\n".join(blocks)


def _program(program: dict[str, Any]) -> list[str]:
    devices = f"{program['devices']} {program['device']} device"
    devices += "s" if program["devices"] > 1 else ""
    runs, processes = program["runs"], program["processes"]
    several = f"{runs} runs side by side, each " if runs > 1 else ""
    several = f"{processes} processes, each {several}" if processes > 1 else several
    head = (
        f"{program['name']}: {several}{program['params']:,} parameters, {program['steps']:,} steps "
        f"of {program['batch_size']} images on {devices}"
    )
    weights, moments = _bytes(program["param_bytes"]), _bytes(program["optimizer_bytes"])
    of_it = f"{weights} of parameters, {moments} of optimizer state"
    checkpoint = _bytes(program["checkpoint_bytes"])
    rows = [
        ("memory on a device", f"{_bytes(program['peak_bytes'])}, as compiled: {of_it}"),
        ("sent by a device in a step", _bytes(program["sent_bytes"])),
        ("on the disk", f"{_bytes(program['disk_bytes'])}; a checkpoint has {checkpoint}"),
        ("a step", f"{1000 * program['step_seconds']:,.1f} ms"),
        *((wall_time.LABELS[part], f"{s:,.1f} s") for part, s in program["parts"].items()),
        ("time", _range(program)),
    ]
    return [head, *(f"  {name:<32}{text}" for name, text in rows)]


def _range(found: dict[str, Any]) -> str:
    low, high = duration(found["lowest"]), duration(found["highest"])
    return f"{duration(found['seconds'])} ({low} to {high})"


def _bytes(n: float) -> str:
    """A number of bytes to read."""
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:,.3g} GB" if n < 1000 else f"{n:,.0f} GB"
