"""Flags and --config overrides (absl, ml_collections); each mistake is one line."""

import ast
import re
import sys
from collections.abc import Iterator
from typing import Any

from absl import flags

from lenet_alexnet import config as configs
from lenet_alexnet.config import own_photos
from lenet_alexnet.config.checks import check_entries, check_ranges, check_sections
from lenet_alexnet.config.options import DECIDING
from lenet_alexnet.errors import SYNONYMS, Problems, UsageError, nearest
from lenet_alexnet.runtime.storage import expand

FOLDERS = (
    "workdir",
    "data_dir",
    "photos",
    "from",
    "to",
    "model",
    "out",
    "mean",
    "classes",
)  # flags in which ~ means the home directory
OVERRIDE = re.compile(r"--?config\.([^=]+)(?:=(.*))?", re.DOTALL)


def of_photos(arguments: list[str]) -> list[str]:
    """The arguments, with the config that --photos=DIR stands for, if it is among them."""
    text = "\n".join(arguments)
    found = re.findall(r"^--?photos(?:=|\n)(.*)$", text, re.MULTILINE)
    if not found:
        return arguments
    if re.search(r"^--?config(=|$)", text, re.MULTILINE):
        raise UsageError("--photos chooses its config, alexnet_folder: leave out --config")
    data_dir = f"--config.data.data_dir={expand(found[-1]) if found[-1] else ''}"
    return [*arguments, "--config=alexnet_folder", data_dir]


def load_config(arguments: list[str]) -> tuple[list[str], Any, str]:
    """The arguments without --config=FILE, the config of that file, and the file."""
    rest, path = [], None
    remaining = iter(arguments)
    for argument in remaining:
        if argument in ("--config", "-config"):
            path = next(remaining, "")
        elif argument.startswith(("--config=", "-config=")):
            path = argument.split("=", 1)[1]
        else:
            rest.append(argument)
    if path is None:
        raise UsageError("--config=FILE is missing")
    module = configs.load(path)
    config, again = module.get_config(), module.get_config()
    check_sections(config, path)
    check_entries(config, path)
    if changed := configs.differences(config, again):  # Such a run could not resume.
        raise UsageError(
            f"config file '{path}': two calls of get_config() differ ({'; '.join(changed)})"
        )
    return rest, config, path


def parse(values: flags.FlagValues, argv: list[str], config: Any) -> list[str]:
    """The arguments that are not flags; UsageError for all mistakes in flags and config."""
    argv = [argv[0], *_spelled(values, argv[1:])]
    problems = Problems()
    rest: list[str] = []
    notes: list[str] = []
    given = None if config is None else config.copy_and_resolve_references()
    try:
        rest = _read_flags(values, argv, config)
    except UsageError as error:
        problems.note(error)
        config = None if given is None else _with_what_fits(given, argv, problems)
    for name in FOLDERS:
        if name in values and (folder := values[name].value):
            values[name].value = ",".join(str(expand(x)) for x in folder.split(","))
    if config is not None:
        with problems.noting():
            notes = own_photos.resolve(config)
        with problems.noting():
            check_ranges(configs.flatten(config))
        flags.DEFINE_multi_string("config_notes", notes, "what was inferred", flag_values=values)
    if problems.lines and config is not None:
        from lenet_alexnet.training.checking import check_alone

        check_alone(config, problems=problems)
    problems.report()
    return rest


def _read_flags(values: flags.FlagValues, argv: list[str], config: Any) -> list[str]:
    """Sets the flags and the overridden entries; returns the other arguments."""
    from ml_collections import config_flags

    if config is not None:
        argv = _prepare(config, argv)
    saved = sys.argv
    sys.argv = argv  # config_flags reads the overrides there when the flag is defined.
    try:
        if config is not None:
            config_flags.DEFINE_config_dict("config", config, lock_config=True, flag_values=values)
        return list(values(argv)[1:])
    except flags.UnrecognizedFlagError as error:
        hint = _flag_hint(error.flagname, values, config)
        raise UsageError(f"unknown flag --{error.flagname}: {hint}") from error
    except flags.Error as error:
        raise UsageError(" ".join(str(error).split())) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(_misfit(config, argv)) from error
    finally:
        sys.argv = saved


def _with_what_fits(config: Any, argv: list[str], problems: Problems) -> Any:
    """The config with those overrides that fit it; notes what is wrong with each of the others."""
    given = [(key, text) for _, key, text in overrides(argv)]
    # First those that decide which options exist.
    for key, text in sorted(given, key=lambda one: one[0] not in DECIDING):
        changed = config.copy_and_resolve_references()
        with problems.noting():
            _read_flags(flags.FlagValues(), [argv[0], f"--config.{key}={text}"], changed)
            config = changed
    return config


def overrides(argv: list[str]) -> Iterator[tuple[int, str, str]]:
    """The place, key and value of each --config.KEY=VALUE (or --config.KEY VALUE)."""
    for i, argument in enumerate(argv):
        if match := OVERRIDE.fullmatch(argument):
            after = argv[i + 1] if i + 1 < len(argv) else ""
            yield i, match[1], after if match[2] is None else match[2]


def _prepare(config: Any, argv: list[str]) -> list[str]:
    """Adds the overridden options to the config; sets here those without a type."""
    from lenet_alexnet.config import options

    given = list(overrides(argv))
    known = configs.flatten(config)
    options.decide(config, {key: value for _, key, value in given})
    options.admit(config, [key for _, key, _ in given if key not in known])
    done: set[int] = set()
    flat = configs.flatten(config)
    for i, key, text in given:
        if key in flat and options.untyped(config, key):  # config_flags parses by the type.
            section, _, last = key.rpartition(".")
            with config.unlocked():
                del configs.part(config, section)[last]
                configs.part(config, section)[last] = _literal(text)
            done |= {i} if "=" in argv[i] else {i, i + 1}
    return [argument for i, argument in enumerate(argv) if i not in done]


def _literal(text: str) -> Any:
    """A Python literal, or the text itself."""
    if text.lower() in ("none", "true", "false"):
        text = text.capitalize()
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _spelled(values: flags.FlagValues, arguments: list[str]) -> list[str]:
    """The arguments with each flag as defined: --data-dir for --data_dir, and the reverse."""
    defined = {name.replace("-", "_"): name for name in values}
    defined |= {f"no{key}": f"no{name}" for key, name in defined.items() if values[name].boolean}
    result = list(arguments)
    for i, argument in enumerate(arguments):
        if argument == "--":
            break
        if match := re.fullmatch(r"--?([\w-]+)(=.*)?", argument, re.DOTALL):
            name = defined.get(match[1].replace("-", "_"))
            result[i] = f"--{name}{match[2] or ''}" if name else argument
    return result


def _flag_hint(name: str, values: flags.FlagValues, config: Any) -> str:
    """The flag that was meant, or the config entry."""
    known = [flag for flag in values if len(flag) > 1]
    if config is not None:
        from lenet_alexnet.config import options

        entry = name.removeprefix("config.")
        usual = {entry, SYNONYMS.get(entry.replace("-", "_"), entry), entry.replace("-", "_")}
        every = options.every(config)
        meant = [key for key in every if key in usual or key.rpartition(".")[2] in usual]
        if meant and not usual & set(known):
            named = " or ".join(f"--config.{key}" for key in meant[:2])
            return f"did you mean {named}?"
    return nearest(name, known)


def _misfit(config: Any, argv: list[str]) -> str:
    """Names the override that does not fit the config, and the nearest key."""
    from lenet_alexnet.config import options

    known = configs.flatten(config)
    for _, key, _ in overrides(argv):
        if key not in known and configs.part(config, key) is None:
            return options.unknown(config, key)
    return "a --config override does not fit the config"
