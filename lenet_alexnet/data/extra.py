"""The libraries that read and write prepared data sets, which the extra `data` installs."""

import importlib.util

from lenet_alexnet.errors import UsageError

# tensorflow-datasets needs importlib_resources but declares it for old Pythons only.
LIBRARIES = ("array_record", "importlib_resources", "tensorflow_datasets", "xxhash")
INSTALL = "pip install 'lenet-alexnet[data]'"


def missing() -> list[str]:
    """Which of the libraries are not installed."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name) is None]


def require() -> None:
    """Raises UsageError if one of the libraries is not installed."""
    if names := missing():
        *others, last = names
        listed = f"{', '.join(others)} and {last}" if others else last
        raise UsageError(f"prepared data sets need {listed}: {INSTALL}")
