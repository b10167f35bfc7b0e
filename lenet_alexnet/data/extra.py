"""The libraries that read and write prepared data sets, which the extra `data` installs."""

import importlib.util

from lenet_alexnet.errors import UsageError

# tensorflow-datasets needs importlib_resources but declares it for old Pythons only.
LIBRARIES = ("array_record", "grain", "importlib_resources", "tensorflow_datasets")


def require() -> None:
    """Raises UsageError if one of the libraries is not installed."""
    if missing := [name for name in LIBRARIES if importlib.util.find_spec(name) is None]:
        names = " and ".join([", ".join(missing[:-1])] * (len(missing) > 1) + missing[-1:])
        raise UsageError(f"prepared data sets need {names}: pip install 'lenet-alexnet[data]'")
