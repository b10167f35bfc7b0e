"""The errors shown to the user in one line, each with its exit code."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence


class LenetAlexnetError(Exception):
    """A message for the user, in one line; exit code 1: the run failed."""

    exit_code = 1


class UsageError(LenetAlexnetError):
    """Wrong flags, config or arguments: nothing was started."""

    exit_code = 2


class UsageErrors(UsageError):
    """Several mistakes; the message has a line for each of the `lines`."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n  ".join([f"{len(self.lines)} problems", *self.lines]))


class Problems:
    """Collects mistakes, so that all of them are reported at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, error: UsageError) -> None:
        """Adds a mistake, or several, unless it is there already."""
        new = error.lines if isinstance(error, UsageErrors) else (str(error),)
        self.lines += [line for line in new if line not in self.lines]

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Inside, a UsageError is noted, and the program continues after the block.

        After a mistake that was noted before, any other error may follow from it and is ignored.
        """
        try:
            yield
        except UsageError as error:
            self.note(error)
        except LenetAlexnetError:
            self.report()
            raise
        except Exception:
            if not self.lines:
                raise

    def report(self) -> None:
        """Raises UsageError if there are mistakes: one has its own text, several have a block."""
        if len(self.lines) == 1:
            raise UsageError(self.lines[0])
        if self.lines:
            raise UsageErrors(self.lines)


class DataError(LenetAlexnetError):
    """Data that is missing, broken or not what its name promises."""


class Diverged(LenetAlexnetError):
    """The loss or a parameter became NaN or infinite."""


class Interrupted(LenetAlexnetError):
    """Stopped by a signal, with everything saved (EX_TEMPFAIL): run the same command again."""

    exit_code = 75


# Names that other programs use -> our entries and flags.
SYNONYMS = {
    "lr": "learning_rate", "eta0": "learning_rate", "rate": "learning_rate",
    "wd": "weight_decay", "l2": "weight_decay", "decay": "weight_decay",
    "bs": "batch_size", "batch": "batch_size", "batchsize": "batch_size",
    "epoch": "duration", "epochs": "duration", "num_epochs": "duration", "max_epochs": "duration",
    "steps": "duration", "num_steps": "duration", "max_steps": "duration", "iterations": "duration",
    "mom": "momentum", "beta1": "b1", "beta2": "b2", "epsilon": "eps", "grad_clip": "clip",
    "clip_norm": "clip", "max_grad_norm": "clip", "gradient_clipping": "clip",
    "arch": "name", "type": "name", "optim": "optimizer", "classes": "num_classes",
    "n_classes": "num_classes", "act": "activation", "nonlinearity": "activation",
    "warmup_steps": "warmup", "warmup_epochs": "warmup", "smoothing": "label_smoothing",
    "grad_accum": "accumulate", "accumulation": "accumulate", "ema": "average",
    "dtype": "precision", "random_seed": "seed", "rng_seed": "seed", "dataset": "name",
    "out": "workdir", "output": "workdir", "output_dir": "workdir", "out_dir": "workdir",
    "logdir": "workdir", "log_dir": "workdir", "dir": "workdir", "data": "data_dir",
    "workers": "jobs", "num_workers": "jobs", "topk": "top", "top_k": "top", "k": "top",
}  # fmt: skip
LISTED = 12  # known words that fit a line
CLOSE = 0.6  # from this likeness on, one word may be a typo of the other


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word meant by `word`, or lists the known ones.

    In dotted words, sections are compared with sections and last parts with last parts.
    """
    known = sorted(known)
    if meant := _meant(word, known):
        return "did you mean " + " or ".join(f"'{name}'" for name in meant) + "?"
    if len(known) > LISTED:
        section = word.rpartition(".")[0] or "."
        inside = [name for name in known if name.rpartition(".")[0] == section]
        known = inside or sorted({name.partition(".")[0] for name in known})
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return "known: " + (", ".join(known[:LISTED]) or "none") + more


def _meant(word: str, known: list[str]) -> list[str]:
    section, _, last = word.rpartition(".")
    usual = {last, SYNONYMS.get(last.lower().replace("-", "_"), last)}
    same = [name for name in known if name.rpartition(".")[2] in usual]
    inside = [name for name in same if name.rpartition(".")[0] == section]
    close = inside or [name for name in same if name.startswith(f"{section}.")] or same
    if 1 <= len(close) <= 2:
        return close
    likeness, best = max(((_likeness(word, name), name) for name in known), default=(0.0, ""))
    return [best] if likeness >= CLOSE else []


def _likeness(word: str, name: str) -> float:
    """From 0 to 1."""
    if word.startswith(f"{name}."):
        return CLOSE  # An entry was taken for a section.
    (section, _, last), (its_section, _, its_last) = word.rpartition("."), name.rpartition(".")
    likeness = _ratio(last, its_last)
    return min(likeness, _ratio(section, its_section)) if section else likeness


def _ratio(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio() if a or b else 1.0
