"""Flags and --config overrides, by absl and ml_collections, with a user's mistakes in one line."""

import sys
from typing import Any

from absl import flags

from lenet_alexnet.checks import check_sections
from lenet_alexnet.errors import UsageError, nearest


def load_config(arguments: list[str]) -> tuple[list[str], Any, str]:
    """The arguments without --config=FILE, the config of that file, and the file."""
    from lenet_alexnet import config as configs

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
    config = configs.load(path).get_config()
    check_sections(config, path)
    return rest, config, path


def parse(values: flags.FlagValues, argv: list[str], config: Any) -> list[str]:
    """The arguments that are no flags; any mistake in the flags as one line."""
    from ml_collections import config_flags

    for argument in argv:
        if config is not None and argument.startswith("--config.model."):
            allow_switch(config, argument.removeprefix("--config.").split("=")[0])
    saved = sys.argv
    sys.argv = argv  # config_flags looks for the overrides there, when the flag is defined.
    try:
        if config is not None:
            config_flags.DEFINE_config_dict("config", config, lock_config=True, flag_values=values)
        return values(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        hint = nearest(error.flagname, [name for name in values if len(name) > 1])
        raise UsageError(f"unknown flag --{error.flagname}: {hint}") from error
    except flags.Error as error:
        raise UsageError(str(error).strip().replace("\n", " ")) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(_unknown_key(config, argv)) from error
    finally:
        sys.argv = saved


def allow_switch(config: Any, key: str) -> None:
    """Adds "model.NAME" to a config that leaves this option of its network at the default."""
    name = key.removeprefix("model.")
    if not key.startswith("model.") or name in config.model or "name" not in config.model:
        return
    from lenet_alexnet.models import defaults

    options = defaults(config.model.name, config.model.get("variant", ""))
    if name in options:
        with config.unlocked():
            config.model[name] = options[name]


def _unknown_key(config: Any, argv: list[str]) -> str:
    """Names the override that does not fit the config, and the nearest key."""
    from lenet_alexnet.config import flatten

    known = flatten(config)
    sections = {key.rpartition(".")[0] for key in known}
    for argument in argv:
        key = argument.removeprefix("--config.").split("=")[0]
        if argument.startswith("--config.") and key not in known and key not in sections:
            return f"unknown config key '{key}': {nearest(key, known)}"
    return "a --config override does not fit the config"
