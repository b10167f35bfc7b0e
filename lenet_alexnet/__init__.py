"""LeNet-5 (LeCun et al. 1998) and AlexNet (Krizhevsky et al. 2012) in JAX.

The names in `__all__` are for other programs. Each is imported when it is first used: the import
of the package itself loads nothing else.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = {  # __init__.pyi has their types
    "Dataset": "data",
    "InMemory": "data",
    "Network": "library.network",
    "create_model": "models",
    "features": "models",
    "load": "library.network",
    "preprocess": "library.preprocess",
    "train": "library.train",
    "trained_networks": "library.network",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
