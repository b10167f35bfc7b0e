"""The command line: which command, its flags, mistakes as one line and an exit code."""

import sys

from absl import flags

from lenet_alexnet import parsing, start
from lenet_alexnet.commands import COMMANDS
from lenet_alexnet.errors import LenetAlexnetError, UsageError, nearest


def run() -> None:
    """The console script: exits with main's code."""
    sys.exit(main(sys.argv))


def main(argv: list[str]) -> int:
    """Runs one command; a mistake of the user's is one line on stderr and an exit code."""
    start.quieten()  # An override of the model's switches imports JAX already.
    try:
        return _dispatch(argv)
    except LenetAlexnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _dispatch(argv: list[str]) -> int:
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
    values = flags.FlagValues()
    flags.DEFINE_bool("help", False, "this text", flag_values=values, short_name="h")
    command.define(values)
    arguments, config = argv[2:], None
    if command.config and not {"--help", "-h"} & set(arguments):
        arguments, config, path = parsing.load_config(arguments)
        flags.DEFINE_string("config_file", path, "", flag_values=values)
    rest = parsing.parse(values, [f"{argv[0]} {name}", *arguments], config)
    if values.help:
        print(f"usage: lenet-alexnet {name} {command.usage}\n\n{command.help}\n")
        print(_flag_help(values, command.config))
        return 0
    return command.run(values, rest)


def _help() -> str:
    lines = ["usage: lenet-alexnet COMMAND ...", ""]
    lines += [f"  {name:<11}{command.help}" for name, command in COMMANDS.items()]
    lines += ["", "lenet-alexnet COMMAND --help lists a command's flags."]
    lines += ["Exit codes: 0 done; 1 failed; 2 wrong usage; 75 stopped with everything saved."]
    return "\n".join(lines)


def _flag_help(values: flags.FlagValues, config: bool) -> str:
    lines = []
    if config:
        lines.append("  --config      a config file; --config.section.key=value changes an entry")
    for name in sorted(set(values)):
        flag = values[name]
        if len(name) > 1 and name != "help":
            default = "" if flag.default in (None, False, "") else f" (default: {flag.default})"
            lines.append(f"  --{name:<12}{flag.help}{default}")
    return "\n".join(lines)
