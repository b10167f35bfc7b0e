"""Runs a command with its flags; errors become one line and an exit code."""

import sys

from absl import flags

from lenet_alexnet.cli import (
    activations,
    bench,
    ckpt,
    configs,
    convert,
    data,
    demo,
    doctor,
    eval,
    export,
    info,
    models,
    parsing,
    predict,
    report,
    reproduce,
    sweep,
    train,
)
from lenet_alexnet.cli.command import OPTIONAL
from lenet_alexnet.errors import Interrupted, LenetAlexnetError, UsageError, nearest
from lenet_alexnet.runtime import backend, standard_streams, unexpected

COMMANDS = {
    "train": train.COMMAND,
    "eval": eval.COMMAND,
    "predict": predict.COMMAND,
    "activations": activations.COMMAND,
    "models": models.COMMAND,
    "demo": demo.COMMAND,
    "report": report.COMMAND,
    "info": info.COMMAND,
    "configs": configs.COMMAND,
    "sweep": sweep.COMMAND,
    "reproduce": reproduce.COMMAND,
    "bench": bench.COMMAND,
    "data": data.COMMAND,
    "ckpt": ckpt.COMMAND,
    "convert": convert.COMMAND,
    "export": export.COMMAND,
    "doctor": doctor.COMMAND,
}


def run() -> None:
    """The console script: exits with main's code."""
    standard_streams.prepare()
    unexpected.quiet_callbacks()
    code = main(sys.argv)
    standard_streams.finish()
    sys.exit(code)


def main(argv: list[str]) -> int:
    """Runs one command; an error becomes one line on stderr and an exit code."""
    backend.quieten()  # Overrides of the model's options import JAX.
    values = flags.FlagValues()
    try:
        code = _dispatch(argv, values)
        sys.stdout.flush()  # So that a full disk is reported as an error.
        return code
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except LenetAlexnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        workdir = values["workdir"].value if "workdir" in values else None
        line, code = unexpected.tell(error, workdir, debug="--debug" in argv)
        print(f"error: {line}", file=sys.stderr)
        return code


def _dispatch(argv: list[str], values: flags.FlagValues) -> int:
    name = argv[1] if len(argv) > 1 else "--help"
    if name in ("--help", "-h", "help"):
        print(_help())
        return 0
    if name == "--version":
        from lenet_alexnet import __version__

        print(f"lenet-alexnet {__version__}")
        return 0
    if name not in COMMANDS:
        raise UsageError(f"unknown command '{name}': {nearest(name, COMMANDS)}")
    command = COMMANDS[name]
    flags.DEFINE_bool("help", False, "this text", flag_values=values, short_name="h")
    flags.DEFINE_bool("debug", False, "errors in full, with a traceback", flag_values=values)
    command.define(values)
    arguments, config = argv[2:], None
    if {"--help", "-help", "-h"} & set(arguments):
        print(f"usage: lenet-alexnet {name} {command.usage}\n\n{command.help}\n")
        print(_flag_help(values, bool(command.config)))
        return 0
    given = any(a.partition("=")[0] in ("--config", "-config") for a in arguments)
    if command.config is True or (command.config == OPTIONAL and given):
        if "photos" in values:
            arguments = parsing.of_photos(arguments)
        arguments, config, path = parsing.load_config(arguments)
        flags.DEFINE_string("config_file", path, "", flag_values=values)
    rest = parsing.parse(values, [f"{argv[0]} {name}", *arguments], config)
    return command.run(values, rest)


def _help() -> str:
    lines = ["usage: lenet-alexnet COMMAND ...", ""]
    lines += [f"  {name:<13}{command.help}" for name, command in COMMANDS.items()]
    lines += ["", "lenet-alexnet COMMAND --help lists a command's flags."]
    lines += ["Exit codes: 0 done; 1 failed; 2 wrong usage; 75 stopped: run it again."]
    return "\n".join(lines)


def _flag_help(values: flags.FlagValues, config: bool) -> str:
    rows = []
    if config:
        rows.append(
            (
                "config",
                "a config file or name (see configs); --config.section.key=value changes an entry",
            )
        )
    for name in sorted(set(values)):
        flag = values[name]
        if len(name) > 1 and name != "help":
            default = "" if flag.default in (None, False, "") else f" (default: {flag.default})"
            rows.append((name, f"{flag.help}{default}"))
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"  --{name:<{width}}{text}" for name, text in rows)
