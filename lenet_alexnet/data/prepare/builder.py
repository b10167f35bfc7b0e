"""Writes a small data set as tfds ArrayRecord files without TensorFlow.

The result has tfds's own name, version and features, so `tfds.data_source("mnist")` reads it too.
"""

import contextlib
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from lenet_alexnet.data import checksums, stored_images
from lenet_alexnet.data.dataset import InMemory
from lenet_alexnet.data.prepare import durable
from lenet_alexnet.data.prepare.known import KNOWN, Known
from lenet_alexnet.data.preprocess import statistics
from lenet_alexnet.data.sources import prepared
from lenet_alexnet.errors import DataError, LenetAlexnetError

CONNECT_SECONDS = 5


def write(name: str, source: str | None, folder: Path) -> None:
    """Writes a data set to a temporary folder, then renames it; a failure leaves nothing behind."""
    import tensorflow_datasets as tfds

    known = KNOWN[name]
    # Broken files are reported before anything is written.
    splits = None if source is None else known.read(source)
    if source is None:
        _require_network(known)
    partial = folder.with_name(f"{folder.name}{prepared.PARTIAL}")
    with durable.alone(partial):
        try:
            # The files of a killed run would be taken for finished.
            shutil.rmtree(partial / durable.PARTS / name, ignore_errors=True)
            builder = _builder(name, str(partial / durable.PARTS), splits)
            tfds.disable_progress_bar()  # Its bars stay after an error; ours is in the generator.
            with contextlib.redirect_stdout(sys.stderr):  # Only the folder goes to stdout.
                builder.download_and_prepare(
                    file_format="array_record",
                    download_dir=folder.parents[1] / "downloads",
                    download_config=tfds.download.DownloadConfig(try_download_gcs=False),
                )
            for path in Path(builder.data_dir).iterdir():
                path.replace(partial / path.name)
            complete(partial, known)
            durable.finish(partial, folder)
        except (LenetAlexnetError, OSError):
            raise
        except Exception as error:  # tfds and ArrayRecord raise many kinds.
            reason = " ".join(str(error).split())[:300]
            raise DataError(f"cannot prepare '{folder}': {reason}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def complete(folder: Path, known: Known) -> None:
    """Adds what tfds does not write: the statistics of colour images, and the checksums."""
    if known.shape[-1] == 3:
        images = prepared.decode(folder, "train").images
        statistics.save(folder, statistics.compute(images))
    checksums.write(folder)


def _require_network(known: Known) -> None:
    """Fails within seconds if there is no connection; a download would retry for minutes."""
    parts = urlsplit(known.url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise DataError(
            f"no connection to {parts.hostname} ({error}). Fetch {', '.join(known.files)} "
            "elsewhere and name the folder with --from=DIR"
        ) from error


def _builder(name: str, data_dir: str, splits: dict[str, InMemory] | None) -> Any:
    """A tfds builder with tfds's own name and version that needs no TensorFlow.

    It writes `splits`, or downloads the official files.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import checksums as official

    known = KNOWN[name]
    height, width, channels = known.shape

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version(known.version)
        pkg_dir_path = None
        url_infos = official.load_url_infos(tfds.core.tfds_path("url_checksums") / f"{name}.txt")

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

        def _generate_examples(self, split: str, data: InMemory) -> Iterator[tuple[int, dict]]:
            pairs = zip(data.images, data.labels, strict=True)
            bar = tqdm(pairs, split, len(data), unit=" images", disable=None)
            for i, (image, label) in enumerate(bar):
                example = {"image": stored_images.encode_png(image), "label": int(label)}
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
