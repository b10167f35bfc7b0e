"""Preparing MNIST and its relatives as tfds ArrayRecord files without TensorFlow.

The result has the stock name, version and features, so `tfds.data_source("mnist")` reads it too.
"""

import contextlib
import hashlib
import json
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from lenet_alexnet.data import idx
from lenet_alexnet.errors import DataError, UsageError, nearest

SPLITS = {"train": 60_000, "test": 10_000}
CHECKSUMS = "checksums.json"
CONNECT_SECONDS = 5


class Known(NamedTuple):
    """A data set we prepare: where its four official files are, and its classes."""

    url: str
    class_names: tuple[str, ...]
    title: str


DIGITS = tuple("0123456789")
GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
HIRAGANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

KNOWN = {
    "mnist": Known(
        "https://storage.googleapis.com/cvdf-datasets/mnist/", DIGITS, "handwritten digits"
    ),
    "fashion_mnist": Known(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", GARMENTS, "garments"
    ),
    "kmnist": Known("http://codh.rois.ac.jp/kmnist/dataset/kmnist/", HIRAGANA, "cursive hiragana"),
}  # The same addresses as in tfds, whose checksums we use.

FILES = tuple(
    f"{prefix}-{kind}-ubyte"
    for prefix in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)


def prepare(name: str, /, *, source: str | None, data_dir: str, **options: Any) -> Path:
    """Prepares data set `name` below `data_dir` and returns its folder; done already, it stays.

    Args:
      name: mnist, fashion_mnist or kmnist; or a kind of photos, for which see `photos.prepare`.
      source: a folder with the four idx files; None downloads the official ones.
      data_dir: where prepared data sets live.
      options: of `photos.prepare`.

    Raises:
      UsageError: unknown name, or options of photos. DataError: broken files, or no network.
    """
    from lenet_alexnet.data import photos

    if name in photos.KINDS:
        return photos.prepare(name, source=source, data_dir=data_dir, **options)
    if name not in KNOWN:
        raise UsageError(f"unknown data set '{name}': {nearest(name, [*KNOWN, *photos.KINDS])}")

    if options:
        raise UsageError(f"--{next(iter(options))} is for photos: {', '.join(photos.KINDS)}")
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir, source)
    folder = Path(builder.data_dir)
    if folder.exists():
        return folder
    if source is not None:
        for split in SPLITS:
            _read(source, split)  # Broken files are named before anything is written.
    else:
        _require_network(KNOWN[name].url)
    with contextlib.redirect_stdout(sys.stderr):  # Ours is for the folder alone.
        builder.download_and_prepare(
            file_format="array_record",
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )
    write_checksums(folder)
    return folder


def _read(folder: str | Path, split: str) -> Any:
    data = idx.read(folder, split)
    if data.images.shape != (SPLITS[split], 28, 28, 1):
        raise DataError(
            f"split '{split}' in '{folder}' is {data.images.shape}, the official files hold "
            f"{SPLITS[split]} images of 28x28"
        )
    return data


def _require_network(url: str) -> None:
    """Fails within seconds where a download would retry for minutes."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise DataError(
            f"no connection to {parts.hostname} ({error}). Fetch the four files {', '.join(FILES)} "
            "(.gz) elsewhere and name their folder with --from=DIR"
        ) from error


def _builder(name: str, data_dir: str, source: str | None) -> Any:
    """A tfds builder of our own under the stock name and version that needs no TensorFlow."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import checksums

    known = KNOWN[name]

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version("3.0.1")
        pkg_dir_path = None
        url_infos = checksums.load_url_infos(tfds.core.tfds_path("url_checksums") / f"{name}.txt")

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"{name}: {known.title}, 28x28 grey, 60,000 and 10,000.",
                homepage=known.url,
                supervised_keys=("image", "label"),
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(shape=(28, 28, 1)),
                        "label": tfds.features.ClassLabel(names=list(known.class_names)),
                    }
                ),
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            folder = source or _download(dl_manager, known.url)
            return {split: self._generate_examples(folder, split) for split in SPLITS}

        def _generate_examples(self, folder: Any, split: str) -> Iterator[tuple[int, dict]]:
            data = _read(folder, split)
            for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
                yield i, {"image": Image.fromarray(image[..., 0]), "label": int(label)}

    Builder.name = name
    return Builder(data_dir=data_dir)


def _download(dl_manager: Any, url: str) -> Path:
    """Downloads the four files through tfds, checked against its checksums, into one folder."""
    paths = dl_manager.download({file: f"{url}{file}.gz" for file in FILES})
    folder = Path(dl_manager.download_dir) / "idx"
    folder.mkdir(exist_ok=True)
    for file, path in paths.items():
        folder.joinpath(f"{file}.gz").write_bytes(Path(path).read_bytes())
    return folder


def write_checksums(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Writes the sha256 of every file of a prepared data set beside them.

    `known` has those that are known already, by file name.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    sums = {path.name: (known or {}).get(path.name) or _sha256(path) for path in files}
    folder.joinpath(CHECKSUMS).write_text(json.dumps(sums, indent=1) + "\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(folder: Path) -> str:
    """Verifies checksums, then reads every record and counts; returns a line about what it saw.

    Raises:
      DataError: names the file or split that is not what it should be.
    """
    from lenet_alexnet.data import records

    listing = folder / CHECKSUMS
    expected = json.loads(listing.read_text()) if listing.exists() else {}
    for name, checksum in expected.items():
        path = folder / name
        if not path.exists() or _sha256(path) != checksum:
            raise DataError(f"{path} is {'damaged' if path.exists() else 'missing'}: prepare again")
    counts = []
    for split, size in records.sizes(folder).items():
        stored = records.count(folder, split)
        if stored != size:
            raise DataError(f"{folder}: split '{split}' holds {stored} examples, not {size}")
        classes = np.zeros(len(records.class_names(folder)), np.int64)
        for _, labels in records.chunks(folder, split):
            if labels.min() < 0 or labels.max() >= len(classes):
                raise DataError(f"{folder}: '{split}' has labels outside 0..{len(classes) - 1}")
            classes += np.bincount(labels, minlength=len(classes))
        counts.append(f"{split} {size:,} ({classes.min():,}-{classes.max():,} a class)")
    sums = f"{len(expected)} checksums hold" if expected else "no checksums to compare"
    return f"{', '.join(counts)}; {sums}"
