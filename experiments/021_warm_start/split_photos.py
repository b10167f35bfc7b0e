"""Writes the class folders of this experiment: photos to pretrain on, and two sets of 200.

python experiments/021_warm_start/split_photos.py IMAGENETTE_TAR CIFAR10_DIR OUT
"""

import sys
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from lenet_alexnet.data.prepare import cifar10

FEW = 20  # photos of a class to train on
HELD_OUT = 75  # photos of a class to test on: Imagenette
TESTED = 100  # the same: CIFAR-10


def imagenette(archive: Path, out: Path) -> None:
    """By name within each class, the last 95 photos are not pretrained on."""
    with tarfile.open(archive) as tar:
        classes = defaultdict(list)
        for member in tar.getmembers():
            if member.isfile():
                classes[Path(member.name).parent.name].append(member)
        for name, members in classes.items():
            members.sort(key=lambda member: member.name)
            first = len(members) - FEW - HELD_OUT
            for n, member in enumerate(members):
                part = "same/validation" if n >= first + FEW else "same/train"
                folder = out / (part if n >= first else "pretrain/train") / name
                folder.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(member)
                assert content is not None
                (folder / Path(member.name).name).write_bytes(content.read())


def cifar(source: Path, out: Path) -> None:
    """The first images of each class, in the files' order."""
    splits = cifar10.read(source)
    for split, part, count in (("train", "train", FEW), ("test", "validation", TESTED)):
        images, labels = splits[split].images, splits[split].labels
        for label, name in enumerate(splits[split].class_names):
            folder = out / "other" / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for n in np.flatnonzero(labels == label)[:count]:
                Image.fromarray(images[n]).save(folder / f"{n:05}.png")


if __name__ == "__main__":
    archive, source, out = map(Path, sys.argv[1:])
    imagenette(archive, out)
    cifar(source, out)
