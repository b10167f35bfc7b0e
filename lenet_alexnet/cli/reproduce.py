"""The command `reproduce`."""

import json
import time
from pathlib import Path
from typing import Any

from absl import flags

from lenet_alexnet import __version__
from lenet_alexnet.cli.command import Command, define_json, define_plan, print_plan
from lenet_alexnet.config import shipped
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.reproduce.catalogue import CLAIMS
from lenet_alexnet.reproduce.claims import Claim, Scale
from lenet_alexnet.reproduce.measured import Measured
from lenet_alexnet.reproduce.status import STATUSES, statuses
from lenet_alexnet.runs.checkout import checkout
from lenet_alexnet.runtime import storage
from lenet_alexnet.runtime.console import say

PAGE = "reproduction.html"


def define(values: flags.FlagValues) -> None:
    """The flags of `reproduce`."""
    define_json(values)
    define_plan(values)
    flags.DEFINE_integer("seeds", 0, "runs per setting (0: the claim's)", 0, flag_values=values)
    which = "full: as published; small: a smaller experiment for a laptop, another claim"
    flags.DEFINE_enum("scale", "full", ["full", "small"], which, flag_values=values)
    flags.DEFINE_string(
        "workdir", "", "where the runs are (runs/reproduce/NAME)", flag_values=values
    )
    flags.DEFINE_string("data_dir", "", "where prepared data sets live", flag_values=values)
    chosen = "list the claims that have a number of this status"
    names = [word.replace(" ", "-") for word in STATUSES]
    flags.DEFINE_enum("status", None, names, chosen, flag_values=values)
    page = f"write the list as a page, {PAGE}, that needs no other file"
    flags.DEFINE_bool("html", False, page, flag_values=values)
    text = "write the results to experiments/, too; only from an unchanged checkout"
    flags.DEFINE_bool("record", False, text, flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Lists all claims, or runs one; returns the exit code."""
    if not rest:
        if values.plan:
            raise UsageError("--plan is for one claim: name it")
        return _list(values)
    if values.status or values.html:
        raise UsageError("--status and --html are for the list, not for one claim")
    name, *more = rest
    if more:
        raise UsageError(f"'{more[0]}' is not expected here: one claim at a time")
    if name not in CLAIMS:
        raise UsageError(f"unknown claim '{name}': {nearest(name, CLAIMS)}")
    return _plan(CLAIMS[name], values) if values.plan else _run(CLAIMS[name], values)


def _list(values: Any) -> int:
    from lenet_alexnet.reproduce import listing

    claims = list(CLAIMS.values())
    if values.status:
        word = values.status.replace("-", " ")
        claims = [claim for claim in claims if statuses(claim)[word]]
    if values.json:
        print(json.dumps([listing.describe(claim) for claim in claims]))
    elif values.html:
        from lenet_alexnet.reproduce.page import as_html

        commit = checkout()["git_commit"]
        at = f" at {commit[:12]}" if commit else ""
        made = f"lenet_alexnet {__version__}{at}, {time.strftime('%Y-%m-%d')}"
        path = Path(values.workdir) / PAGE
        path.parent.mkdir(parents=True, exist_ok=True)
        with storage.written_whole(path, encoding="utf-8") as file:
            file.write(as_html(claims, made))
        print(f"written: {path}")
    else:
        print(listing.as_table(claims))
    return 0


def _workdir(claim: Claim, values: Any) -> Path:
    return Path(values.workdir or f"runs/reproduce/{claim.name}")


def _plan(claim: Claim, values: Any) -> int:
    from lenet_alexnet.plan import runs
    from lenet_alexnet.reproduce import run as runner
    from lenet_alexnet.runtime import signals

    scale = _scale(claim, values.scale)
    if scale.compute:
        raise UsageError(f"'{claim.name}' trains nothing that --plan could time")
    sets = runner.prepare(scale, _workdir(claim, values), data_dir=values.data_dir)
    planned = []
    with signals.catch() as stop_requested:
        for label, (config, folder) in sets.items():
            left = runner.remaining(folder, values.seeds or scale.seeds)
            if left:
                folders = {seed: folder / f"seed_{seed}" for seed in left}
                share = runner.side_by_side(config, left)
                planned.append(runs.of_seeds(label, config, folders, stop_requested, share=share))
    print_plan(planned, as_json=values.json)
    return 0


def _run(claim: Claim, values: Any) -> int:
    from lenet_alexnet.reproduce import listing, records
    from lenet_alexnet.reproduce import run as runner
    from lenet_alexnet.reproduce.measured import measure
    from lenet_alexnet.reproduce.verdict import stated
    from lenet_alexnet.runtime import backend, signals

    scale = _scale(claim, values.scale)
    workdir = _workdir(claim, values)
    folders = [workdir]
    if values.record:
        if shipped.IN_WHEEL:
            raise UsageError("--record needs a checkout of the repository: this is a package")
        if not scale.experiment:
            raise UsageError(f"--record: no folder of experiments/ is named for '{claim.name}'")
        if checkout()["git_dirty"]:
            raise UsageError("--record: the checkout is changed, so results would prove nothing")
        folders.append(shipped.ROOT / "experiments" / scale.experiment)
    backend.set_up()
    backend.each_core_a_device()  # Before the first message: `say` asks JAX for the process.
    say(f"{claim.source}: {claim.title}")
    if values.scale == "small":
        say("on a small scale, which is another claim than the paper's")
    say(f"the rule: {stated(scale)}")
    with signals.catch() as stop_requested:
        results: records.Records = []
        curves: records.Records = []
        if scale.compute:
            results = runner.compute(scale, values.data_dir)
        else:
            found = runner.run(
                scale,
                workdir,
                seeds=values.seeds or scale.seeds,
                data_dir=values.data_dir,
                stop_requested=stop_requested,
            )
            results, curves = records.gather(found, clean=values.record)
    rows, verdicts = measure(scale, results, curves)
    written = []
    for folder in folders:
        if folder != workdir:
            results, curves = records.merged(folder, results, curves)
        records.save(folder, results, curves)
        written += [folder / "results.csv", *_draw(claim, scale, rows, folder)]
    for row in rows:
        print(listing.line(row, scale))
    for verdict in verdicts:
        print("\n".join(listing.result(verdict)))
    print("\n".join(listing.legend({m.verdict for m in rows} | {v.word for v in verdicts})))
    print("written: " + ", ".join(map(str, written)))
    return 0


def _scale(claim: Claim, name: str) -> Scale:
    scale = claim.small if name == "small" else claim.full
    if scale is None:
        raise UsageError(f"'{claim.name}' has no --scale=small")
    if not scale.runs:
        hint = "; --scale=small can be run" if claim.small else ""
        raise UsageError(f"'{claim.name}' cannot be run: {scale.why or scale.note}{hint}")
    return scale


def _draw(claim: Claim, scale: Scale, rows: list[Measured], folder: Path) -> list[Path]:
    from lenet_alexnet import plots
    from lenet_alexnet.reproduce import figure

    path = folder / f"{claim.name}.png"
    try:
        figure.draw(claim, scale, rows, path)
    except ModuleNotFoundError:
        say(plots.MISSING)
        return []
    return [path]


COMMAND = Command(
    help="lists every number of both papers beside ours, or runs one",
    usage="[--status=WORD] [--html] | NAME [--seeds=3] [--scale=full|small] [--plan]",
    define=define,
    run=run,
)
