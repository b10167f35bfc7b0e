"""The command `models`."""

import json
from pathlib import Path
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import Command, define_json, no_more
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.runtime import backend

ACTIONS = ("list", "show")
SPLITS = {
    "test": "test",
    "validation": "validation",
    "embedded": "embedded digits (of MNIST's training split)",
}


def define(values: flags.FlagValues) -> None:
    """The flags of `models`."""
    define_json(values)


def run(values: Any, rest: list[str]) -> int:
    """Runs the command; returns the exit code."""
    action = rest[0] if rest else "list"
    if action not in ACTIONS:
        raise UsageError(f"unknown action '{action}': {nearest(action, ACTIONS)}")
    backend.set_up()
    from lenet_alexnet.inference import bundled
    from lenet_alexnet.inference.model_file import read_card

    if action == "list":
        no_more(rest[1:])
        cards = {name: read_card(bundled.find(name)) for name in bundled.names()}
        print(json.dumps(cards) if values.json else _table(cards))
        return 0
    if len(rest) != 2:
        raise UsageError("models show takes one name, e.g. models show lenet5_mnist")
    card = read_card(bundled.find(rest[1]))
    print(json.dumps(card) if values.json else _as_text(Path(rest[1]).stem, card))
    return 0


def _table(cards: dict[str, dict[str, Any]]) -> str:
    rows = [("name", "parameters", "test error", "config", "size")]
    for name, card in cards.items():
        error = f"{100 * card['test']['top1_error']:.2f} % of {card['test']['examples']:,}"
        size = f"{card['bytes'] / 1000:.0f} kB"
        rows.append((name, f"{card['params']:,}", error, card["config_file"], size))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _as_text(name: str, card: dict[str, Any]) -> str:
    """The card without its config, which --json has."""
    lines = [f"{name}: {card['params']:,} parameters, {card['bytes']:,} bytes"]
    plain = ("config_file", "seed", "step", "checkpoint", "git_commit", "sha256")
    lines += [f"{key}: {card[key]}" for key in plain if card.get(key) is not None]
    for split, what in SPLITS.items():
        if split not in card:
            continue
        result = card[split]
        error = 100 * result["top1_error"]
        lines.append(f"{what}: error {error:.2f} % of {result['examples']:,}")
        lines += [
            f"  class {each}: {counts['errors']} errors in {counts['examples']:,}"
            for each, counts in result.get("by_class", {}).items()
        ]
    return "\n".join(lines)


COMMAND = Command(
    help="lists the trained networks of the package, and shows their cards",
    usage="[list] | show NAME_OR_FILE [--json]",
    define=define,
    run=run,
)
