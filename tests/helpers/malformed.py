"""Mistakes and broken files: how each is made, the command, the exit code, and the line.

`make` is called with an empty folder and the path of a finished run, copied for this case alone;
it returns the arguments. The fragment must be in the one line that appears on stderr.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.helpers import ROOT, faults

QUICK = f"--config={ROOT}/configs/lenet5_quickstart.py"


class Case(NamedTuple):
    name: str
    make: Callable[[Path, Path], list[str]]
    code: int
    fragment: str


CASES: list[Case] = []


def case(name: str, code: int, fragment: str) -> Callable:
    def add(make: Callable[[Path, Path], list[str]]) -> None:
        CASES.append(Case(name, make, code, fragment))

    return add


def command(name: str, code: int, fragment: str, *arguments: str) -> None:
    """A wrong command line; {d} stands for an empty folder."""
    case(name, code, fragment)(lambda d, run: [text.format(d=d) for text in arguments])


def override(name: str, code: int, fragment: str, *overrides: str) -> None:
    """A quickstart run with entries of its config changed."""
    changed = [f"--config.{text}" for text in overrides]
    case(name, code, fragment)(lambda d, run: ["train", QUICK, f"--workdir={d}/w", *changed])


def config_file(name: str, fragment: str, content: bytes) -> None:
    """A config file with this content."""

    @case(f"config file: {name}", 2, fragment)
    def _(d: Path, run: Path) -> list[str]:
        (d / "broken.py").write_bytes(content)
        return ["train", f"--config={d}/broken.py", f"--workdir={d}/w"]


def data_set(name: str, code: int, fragment: str, source: str, spoil: Callable, *more: str) -> None:
    """A quickstart run on files that `spoil` has written to the folder {d}."""

    @case(f"{source}: {name}", code, fragment)
    def _(d: Path, run: Path) -> list[str]:
        spoil(d)
        changed = [f"--config.data.{x}" for x in (f"source={source}", f"data_dir={d}", *more)]
        return ["train", QUICK, f"--workdir={d}/w", *changed]


def run_file(name: str, code: int, fragment: str, verb: str, spoil: Callable, *more: str) -> None:
    """A finished run, one of whose files `spoil` has changed."""

    @case(f"run, {verb}: {name}", code, fragment)
    def _(d: Path, run: Path) -> list[str]:
        spoil(run)
        if verb == "train":
            return [*faults.command("lenet", run), *more]
        return [verb, f"--workdir={run}", *(text.format(run=run) for text in more)]


# Command lines.
command("no such command", 2, "did you mean 'train'?", "trian")
command("no config", 2, "--config=FILE is missing", "train", "--workdir={d}")
command("no workdir", 2, "--workdir is missing", "train", QUICK)
command("unknown flag", 2, "did you mean 'workdir'?", "train", QUICK, "--wrkdir={d}")
command("a word too many", 2, "'more' is not expected", "train", QUICK, "--workdir={d}", "more")
command("a flag's value of the wrong type", 2, "json", "train", QUICK, "--json=perhaps")
command("a number out of range", 2, "top", "predict", "--workdir={d}", "--top=0", "x.png")
command("no number", 2, "top", "predict", "--workdir={d}", "--top=many", "x.png")
command("an empty flag", 2, "no config file ''", "info", "--config=")
command("no action", 2, "unknown action ''", "data")
command("no such action", 2, "did you mean 'verify'?", "ckpt", "verfy", "{d}")
command("no folder named", 2, "takes one run's folder", "ckpt", "list")
command("no such folder", 2, "no folder '{d}/x'", "ckpt", "show", "{d}/x")
command("a folder without checkpoints", 1, "has no checkpoints yet", "ckpt", "verify", "{d}")
command("no run there", 2, "is no run directory", "eval", "--workdir={d}")
command(
    "a coordinator without its port",
    2,
    "is not host:port",
    "train",
    QUICK,
    "--workdir={d}",
    "--coordinator=127.0.0.1",
    "--process_id=0",
    "--num_processes=1",
)
command(
    "a process too many",
    2,
    "--process_id=2 is not one of 0..2-1",
    "train",
    QUICK,
    "--workdir={d}",
    "--coordinator=127.0.0.1:9",
    "--process_id=2",
    "--num_processes=2",
)
command(
    "more devices than can be imagined", 2, "is more than 1024", "info", QUICK, "--devices=999999"
)
command("no data set prepared", 2, "no prepared data set", "data", "check", "x", "--data_dir={d}")
command(
    "no official files", 1, "no file", "data", "prepare", "mnist", "--from={d}", "--data_dir={d}"
)


@case("workdir is a file", 2, "is not writable")
def _(d: Path, run: Path) -> list[str]:
    (d / "w").write_text("")
    return ["train", QUICK, f"--workdir={d}/w"]


# Config files.
command("no config file", 2, "lenet5_mnist.py", "info", f"--config={ROOT}/configs/lenet.py")
command("the config is a folder", 2, "no config file", "info", "--config={d}")
config_file("bytes", "null bytes", b"\x00\x01\x02")
config_file("not UTF-8", "SyntaxError", b"x = '\xff\xfe'")
config_file("no Python", "SyntaxError", b"learning rate: 0.1")
config_file("no get_config", "has no get_config()", b"x = 1")
config_file("get_config is no function", "not callable", b"get_config = 3")
config_file("nothing returned", "get_config() returns", b"def get_config(): pass")
config_file("a dict returned", "get_config() returns", b"def get_config(): return {}")
NO_MODEL = b"from lenet_alexnet import config\ndef get_config():\n  c = config.base()\n"
NO_MODEL += b"  c.optimizer = {}\n  return c"
config_file("a section is missing", "has no section 'model'", NO_MODEL)
config_file("it ends the program", "SystemExit", b"raise SystemExit(0)")
config_file("it calls itself", "RecursionError", b"def get_config(): return get_config()")
config_file("an import that fails", "ModuleNotFoundError", b"import absent_module")

# Overrides.
override("unknown key", 2, "did you mean 'train.duration'?", "train.duratoin=1 epoch")
override("wrong type", 2, "seed", "seed=one")
override("a whole section", 2, "train", "train=3")
override("negative seed", 2, "seed", "seed=-1")
override("seed beyond 64 bits", 2, "seed", "seed=100000000000000000000")
override("no duration", 2, "is no duration", "train.duration=long")
override("negative duration", 2, "is no duration", "train.duration=-3 epochs")
override("endless duration", 2, "'1e300 epochs' is more than", "train.duration=1e300 epochs")
override("no interval", 2, "is no duration", "checkpoint.every=often")
override("batch larger than the data", 2, "is not within", "train.batch_size=99999")
override("nothing kept", 2, "checkpoint.keep", "checkpoint.keep=0")
override("negative minutes", 2, "checkpoint.minutes", "checkpoint.minutes=-1")
override("learning rate no number", 2, "learning_rate", "optimizer.learning_rate=nan")
override(
    "more classes than any machine can hold",
    2,
    "is more than",
    "model.num_classes=99999999999999999999",
)
override(
    "more steps than can be counted",
    2,
    "is more than",
    "train.steps_per_dispatch=99999999999999999999",
)
override("more distortions than fit", 2, "are too many", "data.variants=1000000000")
override(
    "more distortions than can be counted", 2, "is more than", "data.variants=99999999999999999999"
)
override("negative padding", 2, "data.pad", "data.pad=-1")
override("no spread", 2, "data.std", "data.std=0.0")
override("an empty split", 1, "train[5:5]", "data.train=train[5:5]")
override("half a slice", 2, "train[", "data.train=train[")
override("images of another size", 1, "(28, 28, 1)", "data.image_size=32")
override("too few outputs", 2, "model.num_classes", "model.num_classes=5")
override("a network for other inputs", 2, "data.pad", "data.pad=0")
