"""The page of all config keys, generated from the code that has the defaults.

Keys and comments of the sections are read from config/sections.py. The options of each network,
optimizer, schedule and loss come from `config.options`, their descriptions from docstrings and from
the comments behind the defaults.
"""

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lenet_alexnet import losses, models, optimizers
from lenet_alexnet.config import flatten, options, sections
from lenet_alexnet.data.preprocess.photos import create_photo_preprocess
from lenet_alexnet.optimizers import plateau, schedules

HEAD = """# Config keys

Every entry that a config may have, with its default. This page is generated from the defaults in
the code; [Configs](configs.md) shows how to use them. Any entry can be changed on the command line:
`--config.KEY=VALUE`.

A duration or an interval is a number and a unit: `"500 steps"`, `"12 epochs"` or
`"1000000 examples"`.
"""
LEFT_OUT = "A config may leave these out:"
IN_PHOTOS = """A config made from `configs.photos()` has these in place of `data.pad`, `data.mean`,
`data.std`, `data.interpolation` and `data.distort`:"""

# Descriptions of the options that the code does not describe.
WORDS = {
    "num_classes": "outputs of the network",
    "image_size": "side of the input, in pixels",
    "channels": "number of the input's channels: 1 is grey, 3 is RGB",
    "activation": "function after each layer",
    "conv_form": "how convolutions are computed; auto is what is fast on the backend",
    "hidden": "number of units of each hidden layer",
    "variant": "which of the networks of this kind; every other option changes one switch of it",
    "towers": "1, or 2 for the halves of the network of 2012",
    "widths": "number of maps of each convolution, of all towers together",
    "local_widths": "number of maps of each local layer",
    "dense_width": "number of units of each hidden dense layer",
    "lrn": "local response normalisation, with the constants of the named source",
    "lrn_place": "where response normalisation is applied",
    "spatial_norm": "a normalisation within maps after the second one across maps",
    "batch_norm": "batch normalisation between convolution and activation",
    "pool": "window and stride of max pooling",
    "dropout": "probability that a unit is dropped",
    "dropout_form": "whether outputs are scaled in evaluation (mask) or in training (inverted)",
    "dropout_place": "whether the dense layers' outputs or their inputs are dropped",
    "stds": "standard deviations of the initial weights by layer; None: as He et al. (2015)",
    "biases": "initial biases by layer",
    "scale_rule": "how the rate scales with batch_size / base_batch: none, linear or sqrt",
    "base_batch": "the batch size that the learning rate is for",
    "momentum": "share of the last update that is kept",
    "nesterov": "Nesterov's momentum",
    "weight_decay": "factor of the weights in the update",
    "bias_decay": "whether biases decay too",
    "eta": "trust: |update| / |weights| of a layer at rate 1",
    "b1": "decay of the mean of the gradients",
    "b2": "decay of the mean of their squares",
    "eps": "added to the root of that mean",
    "energy": "factor of the loss E; 0.5 is EBLearn's",
    "mu": "added to the curvature",
    "every": "interval of the estimates of the curvature",
    "examples": "number of examples of an estimate",
    "values": "of piecewise: factors of the peak rate, one more than boundaries",
    "label_smoothing": "share of the target that is spread over all classes",
    "class_weights": "a factor for each class; auto: n / (k n_c); None: all count the same",
    "j": "penalty of the rubbish class",
}
Row = tuple[str, Any, str]


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD, "## Sections of every config", table(section_rows("base"))]
    parts += [LEFT_OUT, table(section_rows("optional"))]
    parts += ["## Photos", IN_PHOTOS, table([*section_rows("photos"), *_more_of_photos()])]
    parts += ["## model", *_models(), "## optimizer", *_optimizers(), "## train.loss", *_losses()]
    return "\n\n".join(parts) + "\n"


def table(rows: Iterable[Row]) -> str:
    """Rows as a Markdown table."""
    lines = ["| key | default | description |", "|---|---|---|"]
    for key, value, text in rows:
        shown = f'"{value}"' if isinstance(value, str) else repr(value)
        cells = (f"`{key}`", f"`{shown}`", text.rstrip("."))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def section_rows(function: str) -> list[Row]:
    """The entries of `base`, or those of another function that are missing or different there."""
    values = flatten(sections.base())
    described = _section_comments("base")
    described |= {key: text for key, text in _section_comments(function).items() if text}
    if function != "base":
        others = flatten(getattr(sections, function)())
        values = {key: value for key, value in others.items() if values.get(key, ...) != value}
    place = list(described)
    keys = sorted(values, key=lambda key: place.index(key) if key in place else len(place))
    return [(key, values[key], described.get(key, "")) for key in keys]


def _more_of_photos() -> Iterator[Row]:
    listed, described = flatten(sections.photos()), _described(create_photo_preprocess)
    for option, value in options.defaults("data.photo", {}).items():
        if f"data.photo.{option}" not in listed:
            yield f"data.photo.{option}", value, described[option]


def _models() -> Iterator[str]:
    yield "`model.name` chooses the network."
    shown: dict[str, dict[str, Any]] = {}
    for name, network in models.MODELS.items():
        values = dict(options.defaults("model", {"name": name}))
        described: dict[str, str] = {}
        for base in reversed(network.__mro__):
            if base.__module__.startswith("lenet_alexnet"):
                described |= _comments(base) | _described(base)
        choices = {**models.CHOICES, "variant": models.VARIANTS_OF.get(name, ())}
        about = (inspect.getdoc(network) or "").split("\n\n")[0].replace("\n", " ")
        same = next((n for n, v in shown.items() if v.items() <= values.items()), "")
        also = f" It has the options of `{same}`." if same else ""
        shown[name] = values
        yield f"### {name}\n\n{about}{also}"
        rows = [
            (f"model.{key}", value, _with_choices(_words(key, described), choices.get(key, ())))
            for key, value in values.items()
            if key not in shown.get(same, ())
        ]
        if rows:
            yield table(rows)


def _optimizers() -> Iterator[str]:
    yield "`optimizer.name` chooses the optimizer. `optimizer.learning_rate` has no default."
    common = _described(optimizers.create_optimizer)
    for name, maker in optimizers.MAKERS.items():
        described = common | _described(maker)
        values = options.defaults("optimizer", {"name": name})
        flat = {key: value for key, value in values.items() if not isinstance(value, dict)}
        if "curvature" in values:
            flat |= {f"curvature.{key}": value for key, value in values["curvature"].items()}
        yield f"### {name}"
        yield table((f"optimizer.{key}", flat[key], _words(key, described)) for key in sorted(flat))
    yield "### schedule\n\nThe shape of the learning rate over the run."
    described = _described(schedules.create_schedule)
    values = {"name": "constant", **options.defaults("optimizer.schedule", {})}
    yield _of_section("optimizer.schedule", values, described)
    yield (
        "### plateau\n\nThe learning rate falls when the validation error stalls. A config has "
        "this section only if the file or an override adds it."
    )
    values, described = options.defaults("optimizer.plateau", {}), _described(plateau.with_plateau)
    yield _of_section("optimizer.plateau", values, described)


def _of_section(section: str, values: dict[str, Any], described: dict[str, str]) -> str:
    return table(
        (f"{section}.{key}", value, _words(key, described)) for key, value in values.items()
    )


def _losses() -> Iterator[str]:
    yield "`train.loss.name` chooses the loss."
    about = {
        "softmax": losses.softmax_cross_entropy,
        "eq8": losses.penalty_eq8,
        "eq9": losses.penalty_eq9,
    }
    for name in losses.LOSSES:
        rows = [
            (f"train.loss.{key}", value, WORDS[key]) for key, value in losses.defaults(name).items()
        ]
        yield f"### {name}\n\n{(inspect.getdoc(about[name]) or '').split(chr(10))[0]}"
        if rows:
            yield table(rows)


def _words(key: str, described: dict[str, str]) -> str:
    text = described.get(key, "")
    return WORDS.get(key.rpartition(".")[2], "") if not text or text.startswith("see ") else text


def _with_choices(text: str, choices: Iterable[str]) -> str:
    return f"{text.rstrip('.')}: {' | '.join(choices)}" if choices else text


def _section_comments(function: str) -> dict[str, str]:
    """The comment after each entry, by dotted key, in the order of the source."""
    source = inspect.getsource(getattr(sections, function))
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    return {key: comments.get(line, "") for line, key in sorted(_keys(ast.parse(source)))}


def _keys(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted key) of each entry in the dict literals and assignments of a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            yield from _of_dict(node.value.args[0], "")
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            key = ast.unparse(node.targets[0]).removeprefix("config.")
            yield node.lineno, key
            yield from _of_dict(node.value, f"{key}.")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "config.data.update":
            yield from ((node.lineno, f"data.{word.arg}") for word in node.keywords)


def _of_dict(node: ast.AST, prefix: str) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Dict):
        for name, value in zip(node.keys, node.values, strict=True):
            if isinstance(name, ast.Constant):
                yield name.lineno, f"{prefix}{name.value}"
                yield from _of_dict(value, f"{prefix}{name.value}.")


def _comments(network: type) -> dict[str, str]:
    """The comments after the fields of a class."""
    lines = inspect.getsource(network).split("\n")
    matches = (re.match(r"    (\w+): .*?  # (.*)", line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def _described(thing: Callable[..., Any]) -> dict[str, str]:
    """The descriptions of arguments or attributes in a docstring, each in one line."""
    found: dict[str, str] = {}
    blocks = re.findall(
        r"^(?:Args|Attributes):\n((?:  .*\n?|\n)*)", inspect.getdoc(thing) or "", re.MULTILINE
    )
    for item in re.findall(r"^  (\S.*(?:\n    .*)*)", "".join(blocks), re.MULTILINE):
        names, _, description = item.partition(":")
        for name in names.split(","):
            found[name.strip(" *")] = " ".join(description.split())
    return found
