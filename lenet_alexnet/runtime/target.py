"""The kind of device that programs are traced for: the one that is here, or an absent one."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax

_named: ContextVar[str] = ContextVar("platform", default="")


def platform() -> str:
    """JAX's name of the platform for which operations choose their form: "cpu", "gpu", ..."""
    return _named.get() or jax.default_backend()


@contextlib.contextmanager
def tracing_for(name: str) -> Iterator[None]:
    """Inside, operations take the forms of the platform `name`, which may be absent."""
    token = _named.set(name)
    try:
        yield
    finally:
        _named.reset(token)
