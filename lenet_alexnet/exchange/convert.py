"""Converts a file of weights to a run's folder, or to a file of ours."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from lenet_alexnet.data.class_names import check_names
from lenet_alexnet.data.foreign_files import open_regular
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.exchange import recipe, run_folder
from lenet_alexnet.inference.recipe import Recipe, as_metadata, build, of_ours
from lenet_alexnet.weights import caffe_file, files, names, ours
from lenet_alexnet.weights.weight_file import Unreadable

SUFFIX = ".safetensors"


def convert(
    path: str,
    to: str,
    *,
    variant: str = "",
    image_size: int = 0,
    mean: str = "",
    classes: str = "",
) -> list[str]:
    """Writes the weights in a file as a run, or as a .safetensors file of ours.

    Args:
      path: a file that `files.read` reads.
      to: a new folder, or a name that ends in .safetensors.
      variant, image_size: of AlexNet, where the file does not show them; not for files of ours.
      mean: Caffe's mean file (.binaryproto); "": one mean per colour.
      classes: a file with the name of a class in each line; "": see `recipe.default_names`.

    Returns lines on what was written.

    Raises:
      UsageError, DataError: see `files.read` and `names.to_variables`; `to` is not free.
    """
    target = Path(to)
    if target.suffix == SUFFIX:
        if target.exists():
            raise UsageError(f"'{target}' exists: name a new file with --to")
    else:
        run_folder.check_free(target)
    mean_image, given = _read_mean(mean), _read_classes(classes)
    file = files.read(path)
    checksum, size = ours.checksum(file.arrays), sum(a.nbytes for a in file.arrays.values())
    metadata = ours.metadata(file)
    if metadata is not None:
        if variant or image_size or mean:
            raise UsageError(f"'{path}' says itself which network it is, and its preprocessing")
        found = of_ours(file, metadata)
    elif names.named(file)[0] == "ours":
        raise DataError(f"'{path}' has our names, but does not say which network it is")
    else:
        found = recipe.of_others(
            file, variant=variant, image_size=image_size, mean_image=mean_image, class_names=given
        )
    if given:
        found = found._replace(class_names=given)
    variables = build(file, found).variables
    origin = {"file": path, "format": file.format, "sha256_of_arrays": checksum}
    del file  # As large as the variables, and as what writing them needs.
    if target.suffix == SUFFIX:
        entries, more = as_metadata(found)
        ours.write(target, variables, (metadata or {}) | entries, more=more)  # with its card
    else:
        leaves, structure = jax.tree.flatten(variables)
        del variables
        on_device = [jax.device_put(leaves.pop(0)) for _ in range(len(leaves))]
        run_folder.write(target, found, jax.tree.unflatten(structure, on_device), origin)
    return [*_lines(found, mean), f"{target}: {size / 1e6:.1f} MB of weights from {path}"]


def _read_mean(path: str) -> np.ndarray | None:
    if not path:
        return None
    try:
        with open_regular(path) as file:
            return caffe_file.read_mean(file.read())
    except FileNotFoundError as error:
        raise UsageError(f"no file '{path}'") from error
    except (OSError, Unreadable) as error:
        raise DataError(f"cannot read '{path}' as a mean image: {error}") from error


def _read_classes(path: str) -> tuple[str, ...]:
    """The lines of a text file."""
    if not path:
        return ()
    try:
        with open_regular(path) as file:
            lines = file.read().decode().splitlines()
    except FileNotFoundError as error:
        raise UsageError(f"no file '{path}'") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read '{path}': {error}") from error
    check_names(lines, path)
    return tuple(lines)


def _lines(found: Recipe, mean: str) -> Sequence[str]:
    """What the network is, and how its images are prepared."""
    model, data = found.config.model, found.config.data
    what = " ".join(str(model[key]) for key in ("name", "variant") if key in model)
    lines = [f"{what}, {len(found.class_names)} classes"]
    if "photo" in data:
        photo = data.photo
        kind = {
            "image": f"the mean image{f' of {mean}' if mean else ''}",
            "given": "the colours' means",
        }.get(photo.mean, photo.mean)
        lines.append(
            f"images: short side {data.image_size}, centre crop {photo.crop}, minus {kind}"
        )
    return lines
