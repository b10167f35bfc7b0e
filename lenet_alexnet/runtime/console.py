"""Lines on stderr for the user; only the first process writes them."""

import sys


def first_process() -> bool:
    """Whether this process is the one that writes files and messages."""
    import jax

    return jax.process_index() == 0


def say(text: str) -> None:
    """Prints a line for the user, in the first process only."""
    if first_process():
        print(text, file=sys.stderr, flush=True)
