"""Whether the C++ loops can be compiled here."""

import pytest

from lenet_alexnet.ops.cpu.native import build


def has_compiler():
    """Whether there is a compiler; if it fails, the tests fail too."""
    try:
        return bool(build._compiler())
    except build.BuildError:
        return False


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler")
