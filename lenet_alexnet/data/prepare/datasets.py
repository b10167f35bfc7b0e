"""Preparing MNIST, its relatives and CIFAR-10 as tfds ArrayRecord files without TensorFlow.

The result has the stock name, version and features, so `tfds.data_source("mnist")` reads it too.
"""

import contextlib
import hashlib
import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from tqdm import tqdm

from lenet_alexnet.data import pixels
from lenet_alexnet.data.files import load_json
from lenet_alexnet.data.prepare import cifar10, durable
from lenet_alexnet.data.preprocess import statistics
from lenet_alexnet.data.sources import idx
from lenet_alexnet.data.sources import tfds as records
from lenet_alexnet.data.split import Split
from lenet_alexnet.errors import DataError, LenetAlexnetError, UsageError, nearest
from lenet_alexnet.runtime import storage

SPLITS = {"train": 60_000, "test": 10_000}  # of MNIST and its relatives
CHECKSUMS = "checksums.json"
CONNECT_SECONDS = 5

FILES = tuple(
    f"{prefix}-{kind}-ubyte.gz"
    for prefix in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)


def _digits(folder: str | Path) -> dict[str, Split]:
    """The splits of the four idx files in `folder`."""
    splits = {split: idx.read(folder, split) for split in SPLITS}
    for split, data in splits.items():
        if data.images.shape != (SPLITS[split], 28, 28, 1):
            raise DataError(
                f"split '{split}' in '{folder}' is {data.images.shape}, the official files hold "
                f"{SPLITS[split]} images of 28x28"
            )
    return splits


class Known(NamedTuple):
    """A data set we prepare.

    Attributes:
      url: where the official files are, up to their names.
      class_names: of its ten classes.
      title: what it shows, for its description.
      files: the names of the official files.
      read: (the files' folder) -> its splits.
      version: tfds's.
      shape: of an image.
      numbered: records have an `id` (train_00000) and keep the order of the files.
    """

    url: str
    class_names: tuple[str, ...]
    title: str
    files: tuple[str, ...] = FILES
    read: Callable[[str | Path], dict[str, Split]] = _digits
    version: str = "3.0.1"
    shape: tuple[int, int, int] = (28, 28, 1)
    numbered: bool = False


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
    "cifar10": Known(
        "https://www.cs.toronto.edu/~kriz/", cifar10.CLASSES, "small photos", cifar10.TARS[:1],
        cifar10.read, "3.0.2", (32, 32, 3), numbered=True,
    ),
}  # fmt: skip
# The same addresses as in tfds, whose checksums we use.


def prepare(name: str, /, *, source: str | None, data_dir: str, **options: Any) -> Path:
    """Prepares data set `name` below `data_dir` and returns its folder; done already, it stays.

    Args:
      name: mnist, fashion_mnist, kmnist or cifar10; or a kind of photos, for which see
        `photos.prepare`.
      source: a folder with the official files; None downloads them.
      data_dir: where prepared data sets live.
      options: of `photos.prepare`.

    Raises:
      UsageError: unknown name, or options of photos. DataError: broken files, or no network.
    """
    from lenet_alexnet.data.prepare import photos

    if name in photos.KINDS:
        return photos.prepare(name, source=source, data_dir=data_dir, **options)
    if name not in KNOWN:
        raise UsageError(f"unknown data set '{name}': {nearest(name, [*KNOWN, *photos.KINDS])}")

    if options:
        raise UsageError(f"--{next(iter(options))} is for photos: {', '.join(photos.KINDS)}")
    known = KNOWN[name]
    folder = Path(data_dir).expanduser() / name / known.version
    if not folder.exists():
        _write(name, source, folder)
    elif not (folder / "dataset_info.json").is_file():
        raise DataError(f"'{folder}' is there but holds no prepared data set: delete it")
    elif not (folder / CHECKSUMS).exists():  # as tfds itself leaves it
        try:
            _complete(folder, known)
        except OSError as error:
            raise DataError(f"cannot write to '{folder}': {error.strerror or error}") from error
    return folder


def _write(name: str, source: str | None, folder: Path) -> None:
    """Writes a data set aside, then puts it in its place; of one that fails nothing is left."""
    import tensorflow_datasets as tfds

    known = KNOWN[name]
    # Broken files are named before anything is written.
    splits = None if source is None else known.read(source)
    if source is None:
        _require_network(known)
    partial = folder.with_name(f"{folder.name}{durable.PARTIAL}")
    with durable.alone(partial):
        try:
            # What a killed run has left would be taken for finished.
            shutil.rmtree(partial / durable.PARTS / name, ignore_errors=True)
            builder = _builder(name, str(partial / durable.PARTS), splits)
            tfds.disable_progress_bar()  # Its bars outlive an error; ours is in the generator.
            with contextlib.redirect_stdout(sys.stderr):  # Ours is for the folder alone.
                builder.download_and_prepare(
                    file_format="array_record",
                    download_dir=folder.parents[1] / "downloads",
                    download_config=tfds.download.DownloadConfig(try_download_gcs=False),
                )
            for path in Path(builder.data_dir).iterdir():
                path.replace(partial / path.name)
            _complete(partial, known)
            durable.finish(partial, folder)
        except (LenetAlexnetError, OSError):
            raise
        except Exception as error:  # tfds and ArrayRecord raise many kinds.
            reason = " ".join(str(error).split())[:300]
            raise DataError(f"cannot prepare '{folder}': {reason}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _complete(folder: Path, known: Known) -> None:
    """Adds what tfds does not write: the statistics of colours, and the checksums."""
    if known.shape[-1] == 3:
        images = records.decode(folder, "train").images
        statistics.save(folder, statistics.compute(images))
    write_checksums(folder)


def _require_network(known: Known) -> None:
    """Fails within seconds where a download would retry for minutes."""
    parts = urlsplit(known.url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise DataError(
            f"no connection to {parts.hostname} ({error}). Fetch {', '.join(known.files)} "
            "elsewhere and name the folder with --from=DIR"
        ) from error


def _builder(name: str, data_dir: str, splits: dict[str, Split] | None) -> Any:
    """A tfds builder of our own under the stock name and version that needs no TensorFlow.

    It writes `splits`, or downloads the official files.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import checksums

    known = KNOWN[name]
    height, width, channels = known.shape

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version(known.version)
        pkg_dir_path = None
        url_infos = checksums.load_url_infos(tfds.core.tfds_path("url_checksums") / f"{name}.txt")

        def _info(self) -> Any:
            text = {"id": tfds.features.Text()} if known.numbered else {}
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"{name}: {known.title}, {height}x{width}x{channels}, ten classes.",
                homepage=known.url,
                supervised_keys=("image", "label"),
                disable_shuffling=known.numbered,
                features=tfds.features.FeaturesDict(
                    text
                    | {
                        "image": tfds.features.Image(shape=known.shape),
                        "label": tfds.features.ClassLabel(names=list(known.class_names)),
                    }
                ),
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            found = splits or known.read(_download(dl_manager, known))
            return {split: self._generate_examples(split, data) for split, data in found.items()}

        def _generate_examples(self, split: str, data: Split) -> Iterator[tuple[int, dict]]:
            pairs = zip(data.images, data.labels, strict=True)
            bar = tqdm(pairs, split, len(data), unit=" images", disable=None)
            for i, (image, label) in enumerate(bar):
                example = {"image": pixels.encode_png(image), "label": int(label)}
                yield i, example | ({"id": f"{split}_{i:05}"} if known.numbered else {})

    Builder.name = name
    return Builder(data_dir=data_dir)


def _download(dl_manager: Any, known: Known) -> Path:
    """Downloads the files through tfds, checked against its checksums, into one folder."""
    import tensorflow_datasets as tfds

    tfds.enable_progress_bar()
    paths = dl_manager.download({file: f"{known.url}{file}" for file in known.files})
    tfds.disable_progress_bar()
    folder = Path(dl_manager.download_dir) / "files"
    folder.mkdir(exist_ok=True)
    for file, path in paths.items():
        shutil.copyfile(path, folder / file)
    return folder


def write_checksums(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Writes the sha256 of every file of a prepared data set beside them.

    `known` has those that are known already, by file name.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    sums = {path.name: (known or {}).get(path.name) or _sha256(path) for path in files}
    with storage.written_whole(folder / CHECKSUMS) as file:
        file.write(json.dumps(sums, indent=1) + "\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksums(path: Path) -> dict[str, str]:
    try:
        sums = load_json(path)
        if not sums or any(Path(name).name != name for name in sums):
            raise ValueError("no checksums of the files beside it")
        if not all(isinstance(checksum, str) for checksum in sums.values()):
            raise ValueError("a checksum is no text")
        return dict(sums.items())
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}): prepare again") from error


def check(folder: Path) -> str:
    """Verifies checksums, then reads every record and counts; returns a line about what it saw.

    Raises:
      DataError: names the file or split that is not what it should be.
    """
    listing = folder / CHECKSUMS
    expected = _checksums(listing) if listing.exists() else {}
    for name, checksum in expected.items():
        path = folder / name
        if not path.is_file() or _sha256(path) != checksum:
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
