"""Lines for the person who watches; of many processes the first one writes them."""

import sys


def first_process() -> bool:
    """Whether this is the process that writes and speaks for all."""
    import jax

    return jax.process_index() == 0


def say(text: str) -> None:
    """A line for the person who watches; of many processes the first one speaks."""
    if first_process():
        print(text, file=sys.stderr, flush=True)
