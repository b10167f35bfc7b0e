"""Reads the arrays of a checkpoint, after a comparison with those of the config."""

from pathlib import Path
from typing import Any

import jax

from lenet_alexnet.errors import DataError
from lenet_alexnet.runs import integrity


def restore_item(manager: Any, folder: Path, step: int, item: str, template: Any) -> Any:
    """One item of the checkpoint of `step`.

    Args:
      manager: orbax's manager.
      folder: the run's folder `checkpoints`.
      step: of the checkpoint.
      item: "variables" or "rest".
      template: a pytree of arrays, or of shapes, types and devices.

    Raises:
      DataError: the checkpoint does not fit the template or cannot be read.
    """
    import orbax.checkpoint as ocp

    _compare(folder, step, item, template)
    wanted = ocp.args.StandardRestore(jax.tree.map(_abstract, template))
    try:
        return manager.restore(step, args=ocp.args.Composite(**{item: wanted}))[item]
    except Exception as error:  # Orbax and tensorstore raise many kinds.
        line = str(error).strip().split("\n")[0]
        raise DataError(
            f"cannot restore checkpoint {step} in {manager.directory}: {line}"
        ) from error


def _compare(folder: Path, step: int, item: str, template: Any) -> None:
    """Raises DataError for the first array that differs from the template."""
    there, here = integrity.arrays(folder / str(step) / item), _arrays(template)
    for name in sorted(there.keys() | here.keys()):
        a, b = there.get(name, "absent"), here.get(name, "absent")
        if a != b:
            raise DataError(
                f"cannot restore checkpoint {step} in '{folder}': "
                f"{name} is {a} there, the config makes it {b}"
            )


def _arrays(tree: Any) -> dict[str, str]:
    """The same as `integrity.arrays`, for a pytree."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        found[name] = f"{leaf.dtype}{list(leaf.shape)}".replace(" ", "")
    return found


def _abstract(leaf: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """A leaf's shape, type and devices; without devices, the default one."""
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
