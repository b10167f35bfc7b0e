"""Lines on stderr for the user; only the first process writes them."""

import sys


def duration(seconds: float) -> str:
    """A length of time to read: 48 s, 12 min, 3 h 20 min, 2 d 5 h."""
    if round(seconds) < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def first_process() -> bool:
    """Whether this process is the one that writes files and messages."""
    import jax

    return jax.process_index() == 0


def say(text: str) -> None:
    """Prints a line for the user, in the first process only."""
    if first_process():
        print(text, file=sys.stderr, flush=True)
