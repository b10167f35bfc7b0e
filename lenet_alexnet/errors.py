"""What may go wrong, each with its exit code: a user's mistake never ends in a traceback."""

import difflib
from collections.abc import Iterable


class LenetAlexnetError(Exception):
    """Something to tell the user in one line; 1 is the exit code of a failed run."""

    exit_code = 1


class UsageError(LenetAlexnetError):
    """Wrong flags, config or arguments: nothing was started."""

    exit_code = 2


class DataError(LenetAlexnetError):
    """Data that is missing, broken or not what its name says."""


class Diverged(LenetAlexnetError):
    """The loss or a parameter became NaN or infinite."""


class Interrupted(LenetAlexnetError):
    """Stopped by a signal with everything saved (EX_TEMPFAIL): run the same command again."""

    exit_code = 75


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word nearest to `word`, or lists the known ones."""
    known = sorted(known)
    cutoff = 0.5 if len(known) <= 12 else 0.0
    close = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + (", ".join(known) or "none")
