"""Which logs `log.to` can name, and the libraries that they need."""

import importlib.util
from collections.abc import Iterable

from lenet_alexnet.errors import UsageError, nearest

# Name in `log.to`, which is also that of the extra -> the modules that it needs.
LIBRARIES = {
    "tensorboard": ("tensorboardX",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "csv": (),
}


def require(names: Iterable[str]) -> None:
    """Raises UsageError if one of the names is unknown, or its library is not installed."""
    for name in names:
        if name not in LIBRARIES:
            raise UsageError(f"log.to names {name!r:.40}: {nearest(str(name), LIBRARIES)}")
        for library in LIBRARIES[name]:
            if importlib.util.find_spec(library) is None:
                raise UsageError(
                    f"log.to '{name}' needs {library}: pip install 'lenet-alexnet[{name}]'"
                )
