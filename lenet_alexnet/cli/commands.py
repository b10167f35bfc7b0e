"""The commands: their flags, and what each calls; `cli.py` is how they are reached.

Heavy modules are imported where a command runs, so that `--help` needs none of them.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime import backend


class Command(NamedTuple):
    """A sub-command: what it does, its flags, and the function that does it."""

    help: str
    usage: str
    define: Callable[[flags.FlagValues], None]
    run: Callable[[Any, list[str]], int]
    config: bool = False  # whether it takes --config=FILE and its overrides


def _define_workdir(values: flags.FlagValues) -> None:
    flags.DEFINE_string("workdir", None, "the run's folder", flag_values=values)


def _define_json(values: flags.FlagValues) -> None:
    flags.DEFINE_bool("json", False, "print JSON instead of a table", flag_values=values)


def _define_checkpoint(values: flags.FlagValues) -> None:
    choice = "best, last, or auto: best if chosen on a validation split, else last"
    flags.DEFINE_enum("checkpoint", "auto", ["auto", "best", "last"], choice, flag_values=values)


def _require(values: flags.FlagValues, *names: str) -> None:
    for name in names:
        if not values[name].value:
            raise UsageError(f"--{name} is {'missing' if values[name].value is None else 'empty'}")


def _no_more(rest: list[str]) -> None:
    if rest:
        raise UsageError(f"'{rest[0]}' is not expected here: flags start with --")


def _define_train(values: flags.FlagValues) -> None:
    _define_workdir(values)
    _define_json(values)
    many = "many processes, where no launcher says it:"
    flags.DEFINE_string("coordinator", None, f"{many} host:port of the first", flag_values=values)
    flags.DEFINE_integer("process_id", None, f"{many} this one, from 0", 0, flag_values=values)
    flags.DEFINE_integer("num_processes", None, f"{many} how many", 1, flag_values=values)
    help = "the same bits on every run on a GPU, some operations slower"
    flags.DEFINE_bool("deterministic", False, help, flag_values=values)
    help = "a run goes on where its numbers are not computed to the same bits"
    flags.DEFINE_bool("allow-other-bits", False, help, flag_values=values)


def _train(values: Any, rest: list[str]) -> int:
    _no_more(rest)
    _require(values, "workdir")
    from lenet_alexnet.runtime import console, signals

    with signals.catch() as stop_requested:
        backend.set_up(deterministic=values.deterministic)
        backend.join(values.coordinator, values.process_id, values.num_processes)
        from lenet_alexnet.training.loop import train_and_evaluate

        with backend.together():
            summary = train_and_evaluate(
                values.config,
                Path(values.workdir),
                stop_requested=stop_requested,
                allow_other_bits=values["allow-other-bits"].value,
            )
    if values.json:
        print(json.dumps(summary))
        return 0
    if not console.first_process():
        return 0
    results = ", ".join(
        f"{split} error {100 * result['top1_error']:.2f} % of {result['examples']:,}"
        for split, result in summary["eval"].items()
    )
    results = results or "no split to evaluate,"
    print(f"{results} after {summary['epoch']:.4g} epochs, {summary['train_seconds']:.0f} s of "
          f"training; in {values.workdir}")  # fmt: skip
    return 0


def _define_eval(values: flags.FlagValues) -> None:
    _define_workdir(values)
    _define_json(values)
    _define_checkpoint(values)
    flags.DEFINE_integer("views", 0, "1 or 10 views (default: the config's)", 0, flag_values=values)
    which = "train, validation or test (default: the last of them there is)"
    flags.DEFINE_string("split", "", which, flag_values=values)
    flags.DEFINE_string("data_dir", "", "where the data is now", flag_values=values)


def _eval(values: Any, rest: list[str]) -> int:
    _no_more(rest)
    _require(values, "workdir")
    backend.set_up()
    from lenet_alexnet.training.evaluation import evaluate_workdirs

    result = evaluate_workdirs(
        [Path(workdir) for workdir in values.workdir.split(",")],
        split=values.split,
        checkpoint=values.checkpoint,
        data_dir=values.data_dir,
        views=values.views,
    )
    if values.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['split']} error {100 * result['top1_error']:.2f} % "
            f"(top-5 {100 * result['top5_error']:.2f} %), loss {result['loss']:.4f}, "
            f"{result['examples']:,} examples, {result['checkpoint']} checkpoint, "
            + (f"step {result['step']:,}" if "step" in result else f"{len(result['steps'])} runs")
        )
    return 0


def _define_predict(values: flags.FlagValues) -> None:
    _define_workdir(values)
    _define_json(values)
    _define_checkpoint(values)
    flags.DEFINE_integer("top", 5, "at most N classes for each image", 1, flag_values=values)
    flags.DEFINE_string("invert", "auto", "dark ink on white: auto, yes or no", flag_values=values)
    flags.DEFINE_string("show", "", "a PNG file for what the network sees", flag_values=values)


def _predict(values: Any, rest: list[str]) -> int:
    _require(values, "workdir")
    if not rest:
        raise UsageError("no images: lenet-alexnet predict --workdir=DIR IMAGE...")
    backend.set_up()
    from lenet_alexnet.inference.predict import predict

    results = predict(
        Path(values.workdir),
        rest,
        top=values.top,
        invert=values.invert,
        checkpoint=values.checkpoint,
        show=values.show,
    )
    for result in results:
        for warning in result["warnings"]:
            print(f"warning: {result['file']}: {warning}", file=sys.stderr)
    if values.json:
        print(json.dumps(results))
        return 0
    for result in results:
        classes = (f"{p['class']} {100 * p['probability']:.1f} %" for p in result["predictions"])
        print(f"{result['file']}: {', '.join(classes)}")
    return 0


def _define_info(values: flags.FlagValues) -> None:
    _define_json(values)
    many = "compiles the step for so many devices: what each holds and exchanges"
    flags.DEFINE_integer("devices", 0, many, 0, flag_values=values)


def _info(values: Any, rest: list[str]) -> int:
    _no_more(rest)
    if values.devices:
        backend.imagine(values.devices)
    backend.set_up()
    from lenet_alexnet.info import network, step_cost
    from lenet_alexnet.models import create_model

    model = create_model(precision=values.config.train.precision, **values.config.model)
    description = network.describe(model, model.input_shape)
    lines = [network.as_table(description)]
    if values.devices:
        description["parallel"] = step_cost.analyse(values.config, values.devices)
        lines.append(step_cost.as_table(description["parallel"]))
    print(json.dumps(description) if values.json else "\n".join(lines))
    return 0


def _define_data(values: flags.FlagValues) -> None:

    reproduce.define(values)


def _data(values: Any, rest: list[str]) -> int:

    return reproduce.run(values, rest)


def _ckpt(values: Any, rest: list[str]) -> int:
    from lenet_alexnet.cli import ckpt

    return ckpt.run(rest, as_json=values.json)


def _define_sweep(values: flags.FlagValues) -> None:

    _define_workdir(values)
    reproduce.define(values)


def _sweep(values: Any, rest: list[str]) -> int:
    _no_more(rest)
    _require(values, "workdir")

    return reproduce.run(values)


def _define_report(values: flags.FlagValues) -> None:

    _define_workdir(values)
    _define_checkpoint(values)
    reproduce.define(values)


def _report(values: Any, rest: list[str]) -> int:
    _no_more(rest)
    _require(values, "workdir")

    return reproduce.run(values)


def _define_bench(values: flags.FlagValues) -> None:

    _define_json(values)
    reproduce.define(values)


def _bench(values: Any, rest: list[str]) -> int:

    return reproduce.run(values, rest)


def _define_reproduce(values: flags.FlagValues) -> None:
    from lenet_alexnet.cli import reproduce

    _define_json(values)
    reproduce.define(values)


def _reproduce(values: Any, rest: list[str]) -> int:
    from lenet_alexnet.cli import reproduce

    return reproduce.run(values, rest)


COMMANDS = {
    "train": Command(
        "trains a network; run again on the same folder, it goes on",
        "--config=FILE --workdir=DIR [--config.section.key=value ...]",
        _define_train,
        _train,
        config=True,
    ),
    "eval": Command(
        "evaluates a run's checkpoint exactly",
        "--workdir=DIR[,DIR...] [--split=test] [--views=1|10]",
        _define_eval,
        _eval,
    ),
    "predict": Command(
        "classifies image files with a trained run",
        "--workdir=DIR IMAGE...",
        _define_predict,
        _predict,
    ),
    "report": Command(
        "draws a run: curves, kernels, maps, errors, neighbours; one HTML page",
        "--workdir=DIR [--split=test] [--checkpoint=auto|best|last] [--data_dir=DIR]",
        _define_report,
        _report,
    ),
    "info": Command(
        "a network layer by layer: shapes, parameters, connections, multiply-adds",
        "--config=FILE [--devices=N --config.parallel.mode=dp|tower|owt]",
        _define_info,
        _info,
        config=True,
    ),
    "sweep": Command(
        "runs the sweep() of a config file; run again, only what is missing",
        "--config=FILE --workdir=DIR [--executor=auto|vmap|local|slurm] [--dry-run]",
        _define_sweep,
        _sweep,
        config=True,
    ),
    "reproduce": Command(
        "lists every number of both papers beside ours, or runs one",
        "[NAME] [--seeds=3] [--scale=full|small] [--workdir=DIR] [--data_dir=DIR]",
        _define_reproduce,
        _reproduce,
    ),
    "bench": Command(
        "measures speed: training steps, reading, sweeps; PyTorch beside them if wanted",
        "[lenet5|alexnet|input|sweep] [--batch=32,128] [--precision=float32] [--peer=torch]",
        _define_bench,
        _bench,
    ),
    "data": Command(
        "prepares, lists and checks data sets",
        "prepare NAME [--from=DIR] [...] | list | check NAME [--data_dir=DIR]",
        _define_data,
        _data,
    ),
    "ckpt": Command(
        "lists a run's checkpoints, shows the newest one's arrays, verifies them all",
        "list DIR | show DIR | verify DIR",
        _define_json,
        _ckpt,
    ),
}
