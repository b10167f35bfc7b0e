"""Photos for tests: pictures, tars laid out like ImageNet's, class folders."""

import io
import json
import tarfile

import numpy as np
from PIL import Image

from lenet_alexnet.data.prepare import metadata, photo_sources, photos, shards

WNIDS = ("n01440764", "n01443537", "n01484850")
VALIDATION = (WNIDS[2], WNIDS[0], WNIDS[1], WNIDS[2])
SIZE = 16
COLOURS = {"blue": (20, 30, 200), "green": (30, 180, 40), "red": (200, 40, 30)}


def picture(seed, size=(40, 30), mode="RGB"):
    """A smooth random picture: JPEG keeps it, and two of them differ everywhere."""
    noise = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tar_bytes(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def class_members(label, count=8):
    wnid = WNIDS[label]
    return {f"{wnid}_{i}.JPEG": encoded(picture(100 * label + i)) for i in range(count)}


def validation_members():
    return {f"ILSVRC2012_val_{i:08}.JPEG": encoded(picture(1000 + i)) for i in (3, 1, 4, 2)}


def write_official(folder, train=None, validation=None):
    train = train or {f"{w}.tar": tar_bytes(class_members(i)) for i, w in enumerate(WNIDS)}
    folder.mkdir(exist_ok=True)
    (folder / photo_sources.TRAIN_TAR).write_bytes(tar_bytes(train))
    (folder / photo_sources.VALIDATION_TAR).write_bytes(
        tar_bytes(validation or validation_members())
    )
    return folder


def prepare_imagenet(source, data_dir, **options):
    settings = {"size": SIZE, "jobs": 1} | options
    return photos.prepare("imagenet2012", source=str(source), data_dir=str(data_dir), **settings)


def write_folder(root, splits=("train",), count=3, classes=("cat", "dog")):
    for s, split in enumerate(splits):
        for c, name in enumerate(classes):
            (root / split / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                picture(100 * s + 10 * c + i).save(root / split / name / f"{i}.jpg")
    return root


def prepare_folder(source, data_dir, **options):
    settings = {"name": "mine", "size": SIZE, "jobs": 1} | options
    return photos.prepare("folder", source=str(source), data_dir=str(data_dir), **settings)


def manifest(folder):
    return json.loads((folder / metadata.MANIFEST).read_text())


def make_official(tmp_path, monkeypatch):
    """A folder with tars laid out like ILSVRC2012's, of three classes."""
    expected = photo_sources.Official(WNIDS, VALIDATION, 24)
    monkeypatch.setattr(photo_sources, "official", lambda: expected)
    monkeypatch.setattr(shards, "SMALLEST", 5)
    return write_official(tmp_path / "tars")


def prepare_colours(root):
    """Three classes of noisy coloured pictures, prepared at 72 pixels."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / "in" / name).mkdir(parents=True)
        for i in range(16):
            pixels = np.clip(np.array(colour) + rng.normal(0, 40, (80, 96, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / "in" / name / f"{i}.png")
    photos.prepare(
        "folder", source=str(root / "in"), data_dir=str(root / "out"), name="mine", size=72, jobs=1
    )
    return root / "out"


def write_classes(root, counts, size=(96, 80)):
    """Class folders of noisy coloured JPEGs, all different: `counts` by name of a colour."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(np.array(COLOURS[name]) + rng.normal(0, 40, (*size, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.jpg")
    return root
