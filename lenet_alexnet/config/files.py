"""Config files: loading, the sections that every config has, comparing, hashing."""

import contextlib
import hashlib
import importlib.util
import itertools
import json
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lenet_alexnet.errors import UsageError

# What may differ when a run is continued or compared: where things are, not what they are.
PLACES = ("data.data_dir",)
LAUNCH = "launch."  # nor does how a sweep's jobs are launched
MOST_TRIALS = 100_000  # of a sweep: a list without an end is a mistake


def base() -> ConfigDict:
    """Every section but `model` and `optimizer`, which each config file sets as a whole."""
    return ConfigDict(
        {
            "seed": 0,
            "data": {
                "source": "tfds",  # embedded | idx | folder | tfds
                "name": "mnist",  # the prepared data set, for tfds
                "data_dir": "",  # the folder of the files; "" is tfds's own default
                "train": "train",  # split expressions: "train[:50000]", "a+b"
                "validation": "",  # what choices are made on; "" is none
                "test": "test",
                "image_size": 28,
                "channels": 1,
                "pad": 2,  # pixels of background on each side
                "mean": 0.1307,  # of MNIST's training images on the scale 0..1
                "std": 0.3081,
                "reshuffle": True,  # False: one fixed random order in every epoch
                "variants": 1,  # 10: a fixed set of each image and 9 distortions of it
                "interpolation": "linear",  # of distorted images: linear | cubic
                "distort": {  # ranges of data/augment.py:affine
                    "shift": 0.0,
                    "scale": 0.0,
                    "squeeze": 0.0,
                    "shear": 0.0,
                    "rotation": 0.0,
                },
            },
            "train": {
                "duration": "10 epochs",  # "N steps | epochs | examples", as all intervals
                "batch_size": 128,
                "steps_per_dispatch": 50,  # steps in one program call; signals wait for its end
                "log_every": "100 steps",
                "accumulate": 1,  # parts that a batch is cut into, to save memory
                "average": 0.0,  # decay of the parameters' moving average, which is evaluated
                "back_off": 0.0,  # 0.5: when it diverges, go back and halve the rate; 0: stop
                "precision": "float32",  # of the activations: float32 | bfloat16
                "loss": {"name": "softmax", "label_smoothing": 0.0},
            },
            "parallel": {
                "mode": "dp",  # how the devices share the work, see parallel.py
                "turns": False,  # owt: the batch meets before fc6 in parts, not at once
                "update_each_turn": False,  # and fc6 to fc8 are updated after each part
                "shard_optimizer": False,  # cut the optimizer's moments over the devices too
            },
            "eval": {"every": "1 epoch", "batch_size": 500, "views": 1},
            # Besides the last `keep` the best one is kept; minutes: also so often, 0: never.
            "checkpoint": {"every": "1 epoch", "minutes": 0.0, "keep": 2},
            "launch": {  # of a sweep's jobs; all but `lanes` for --executor=slurm
                "lanes": 64,  # trials in one vectorised program, at most
                "partition": "",  # "" is the cluster's default
                "time_limit": 60,  # minutes
                "gpus_per_trial": 0,
                "cpus_per_trial": 1,
                "requeue": 3,  # so many times after a time limit; preemption is not counted
                "parallel": 256,  # jobs of an array that run at once, at most
            },
        }
    )


def photos() -> ConfigDict:
    """`base` for prepared photos: cropped, reflected and coloured on the device (data/crops.py)."""
    config = base()
    with config.unlocked():
        for name in ("pad", "mean", "std", "interpolation", "distort"):
            del config.data[name]
        config.data.update(image_size=256, channels=3, validation="validation", test="")
        config.data.stream = False  # True: read from disk as needed, for more than fits the device
        config.data.photo = {
            "crop": 224,
            "mean": "image",  # image | centre | channel | none: what is subtracted
            "std": 1.0,
            "flip": True,
            "share": 1,  # neighbours in the batch with the same place and reflection
            "colour_noise": 0.1,
            "colour_form": "paper",  # source: divides by 1.1 while there is noise
            "colour_until": "0 steps",  # when the noise ends; 0: never
        }
    return config


def load(path: str) -> Any:
    """The module of a config file, which may import its neighbours by their names.

    Its `get_config()`, `sweep()` and `search()` raise UsageError for whatever goes wrong in them.

    Raises:
      UsageError: no such file, an error in it, or no get_config.
    """
    file = expand(path)
    if not file.is_file():
        neighbours = (
            sorted(p.name for p in file.parent.glob("*.py")) if file.parent.is_dir() else []
        )
        hint = f" (there are: {', '.join(neighbours)})" if neighbours else ""
        raise UsageError(f"no config file '{path}'{hint}")
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"config file '{path}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    with _running(file, f"config file '{path}'"):
        spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UsageError(f"config file '{path}' has no get_config()")
    for name, what in (
        ("get_config", f"config file '{path}'"),
        ("sweep", f"sweep() of '{path}'"),
        ("search", f"search() of '{path}'"),
    ):
        if hasattr(module, name):
            setattr(module, name, _guarded(getattr(module, name), file, what))
    return module


def _guarded(function: Any, file: Path, what: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        with _running(file, what):
            result = function(*arguments)
            # A generator runs as it is read: in here, and not for ever.
            return at_most(result, what) if isinstance(result, Iterator) else result

    return call


@contextlib.contextmanager
def _running(file: Path, what: str) -> Iterator[None]:
    """Inside, code of a config file runs: it finds its neighbours, and its errors are one line."""
    folder, above = file.parent.resolve(), file.parent.parent.resolve()
    # The folder above is for configs/sweeps/ to find configs/. It comes last, so that no file there
    # stands in for an installed package, and not at all where everyone may write, as in /tmp.
    below = [] if above.stat().st_mode & stat.S_IWOTH or str(above) in sys.path else [str(above)]
    before, folders = set(sys.modules), [str(folder), *below]
    sys.path[:] = [str(folder), *sys.path, *below]
    try:
        yield
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        line = " ".join(str(error).split())
        raise UsageError(f"{what} fails: {type(error).__name__}: {line}") from error
    finally:
        for name in folders:
            sys.path.remove(name)
        # Another folder's neighbour of the same name must not be taken for this one's.
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if str(Path(origin).parent) in folders:
                del sys.modules[name]


def at_most(items: Iterable[Any], what: str) -> list[Any]:
    """The items as a list; UsageError if there are more than a sweep may have."""
    found = list(itertools.islice(items, MOST_TRIALS + 1))
    check_count(len(found), what)
    return found


def check_count(count: int, what: str) -> None:
    """Raises UsageError if there are more trials than a sweep may have."""
    if count > MOST_TRIALS:
        more = "more than" if count == MOST_TRIALS + 1 else f"{count:,}, more than"
        raise UsageError(f"{what} yields {more} {MOST_TRIALS:,} trials")


def expand(path: str) -> Path:
    """A path in which ~ is the home directory.

    Raises:
      UsageError: there is a ~, and no one knows that directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"'{path}': no home directory is known for ~ (set HOME)") from error


def part(config: Any, section: str) -> Any:
    """The section of a dotted name ("" is the whole), None if there is none."""
    for name in section.split(".") if section else ():
        config = config.get(name)
        if not hasattr(config, "items"):
            return None
    return config


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if hasattr(value, "items"):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def counts(key: str) -> bool:
    """Whether a leaf says what is trained, and not where or how it is launched."""
    return key not in PLACES and not key.startswith(LAUNCH)


def config_hash(config: Any) -> str:
    """Twelve digits that name what is trained; places do not count."""
    return flat_hash(flatten(config))


def flat_hash(flat: dict[str, Any]) -> str:
    """The hash of a config by its leaves."""
    counted = {key: value for key, value in flat.items() if counts(key)}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:12]


def differences(old: Any, new: Any) -> list[str]:
    """'key: old -> new' for each leaf that differs, places left out.

    What one of them leaves at its default, or did not have when it was written, is no difference.
    """
    a, b = flatten(old), flatten(new)
    if a == b:
        return []
    from lenet_alexnet.config import options

    missing = "(absent)"
    a, b = (_defaults(flat) | options.every(config) for flat, config in ((a, old), (b, new)))
    return [
        f"{key}: {a.get(key, missing)} -> {b.get(key, missing)}"
        for key in sorted(a.keys() | b.keys())
        if counts(key) and a.get(key, missing) != b.get(key, missing)
    ]


def _defaults(flat: dict[str, Any]) -> dict[str, Any]:
    """What `base` or `photos` have in the sections that no name decides."""
    made = flatten(photos() if "data.photo.crop" in flat else base())
    return {key: value for key, value in made.items() if not key.startswith("train.loss.")}
