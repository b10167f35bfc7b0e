"""Writes the files of a prepared set of photos besides its records.

They are the statistics of the training images, `manifest.json`, tfds's description and checksums.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lenet_alexnet.data import checksums
from lenet_alexnet.data.prepare import shards
from lenet_alexnet.data.prepare.photo_sources import Source
from lenet_alexnet.data.preprocess import statistics
from lenet_alexnet.errors import DataError

MANIFEST = "manifest.json"


def write(
    folder: Path,
    name: str,
    version: str,
    source: Source,
    plan: dict[str, Any],
    work: dict[str, list[shards.Shard]],
) -> None:
    """Writes statistics, manifest, tfds's description of the records, and checksums.

    Raises:
      DataError: no photo of a split could be read.
    """
    reports = {split: [shards.read_report(shard) for shard in work[split]] for split in work}
    counts = {split: sum(r.stored for r in parts) for split, parts in reports.items()}
    left_out, converted = dict(source.ignored), dict[str, str]()
    sums = statistics.Sums((plan["size"], plan["size"], 3))
    for report in (r for parts in reports.values() for r in parts):
        left_out |= report.left_out
        converted |= report.converted
        if report.sums is not None:
            sums.merge(report.sums)
    for split, count in counts.items():
        if not count:
            file, reason = next(iter(reports[split][0].left_out.items()))
            raise DataError(f"no photo of {split} could be read; the first, {file}: {reason}")
    statistics.save(folder, sums.finish())
    manifest = plan | {"stored": counts, "left_out": left_out, "converted": converted}
    folder.joinpath(MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    _describe(folder, name, version, source, plan, reports)
    known = {
        s.path.name: r.checksum for k in work for s, r in zip(work[k], reports[k], strict=True)
    }
    checksums.write(folder, known)
    print(
        f"{sum(counts.values()):,} photos stored, {len(converted):,} of them converted; "
        f"{len(left_out):,} files left out" + (f" (see {MANIFEST})" if left_out else ""),
        file=sys.stderr,
    )


def _describe(
    folder: Path,
    name: str,
    version: str,
    source: Source,
    plan: dict[str, Any],
    reports: dict[str, list[shards.Report]],
) -> None:
    import tensorflow_datasets as tfds

    features, shape = tfds.features, (plan["size"], plan["size"], 3)
    raw = features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes")
    jpeg = features.Image(shape=shape, encoding_format="jpeg")
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        version=version,
        features={
            "image": raw if plan["store"] == "raw" else jpeg,
            "label": features.ClassLabel(names=list(source.class_names)),
            "file_name": features.Text(),
        },
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[report.stored for report in parts],
                num_bytes=sum(report.size for report in parts),
            )
            for split, parts in reports.items()
        ],
        check_data=False,  # It would need TensorFlow.
        description=f"{name}: photos, short side {plan['size']}, centre crop.",
        supervised_keys=("image", "label"),
    )
