import io
import os
import shutil
import tarfile

import pytest

from lenet_alexnet.data.prepare import class_folders, photo_sources, photos, tar
from lenet_alexnet.data.sources import prepared as records
from lenet_alexnet.errors import DataError
from tests.helpers.photo_files import (
    WNIDS,
    class_members,
    encoded,
    make_official,
    manifest,
    picture,
    prepare_folder,
    prepare_imagenet,
    tar_bytes,
    validation_members,
    write_folder,
    write_official,
)


@pytest.fixture
def official(tmp_path, monkeypatch):
    return make_official(tmp_path, monkeypatch)


@pytest.mark.attack(
    "silent", "other tars under the names of ImageNet's", "one line names what differs"
)
@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (lambda t: t | {"n09999999.tar": t["n01440764.tar"]}, None, "holds 'n09999999.tar': the"),
        (lambda t: {k: t[k] for k in list(t)[:2]}, None, "2 of 3 class tars; n01484850.tar is"),
        (lambda t: t | {"n01440764.tar": tar_bytes(class_members(0, 7))}, None, "23 images, .* 24"),
        (lambda t: t | {"n01440764.tar": b"no tar at all" * 900}, None, "n01440764.tar .*is no"),
        (lambda t: t | {"n01440764.tar": t["n01440764.tar"][:9000]}, None, "n01440764.tar in"),
        (None, lambda v: {k.lower(): c for k, c in v.items()}, "where the official file has 'ILSV"),
        (None, lambda v: dict(list(v.items())[:1]), "holds 'ILSVRC2012_val_00000003.JPEG' where"),
    ],
)
def test_tars_that_are_not_the_official_ones(official, tmp_path, train, validation, message):
    tars = {f"{w}.tar": tar_bytes(class_members(i)) for i, w in enumerate(WNIDS)}
    write_official(official, train and train(tars), validation and validation(validation_members()))
    with pytest.raises(DataError, match=message):
        prepare_imagenet(official, tmp_path / "D")
    assert not (tmp_path / "D").exists()


@pytest.mark.attack("one line", "a tar of ImageNet with a damaged header, or cut off", "one line")
@pytest.mark.parametrize("where", ["header", "cut"])
def test_damaged_outer_tar(official, tmp_path, where):
    path = official / photo_sources.TRAIN_TAR
    content = bytearray(path.read_bytes())
    second = content.index(b"n01443537.tar")
    if where == "header":
        content[second + 100 : second + 300] = b"\xff" * 200  # tarfile would take it for the end
    path.write_bytes(content if where == "header" else content[: second + 700])
    with pytest.raises(DataError, match=r"img_train\.tar is"):
        prepare_imagenet(official, tmp_path / "D")


def test_official_lists_are_whole():
    expected = photo_sources.official()
    assert (len(set(expected.wnids)), expected.wnids[0]) == (1000, "n01440764")
    assert list(expected.wnids) == sorted(expected.wnids)
    assert len(expected.validation_labels) == 50_000
    assert set(expected.validation_labels) == set(expected.wnids)


def test_missing_tars(tmp_path):
    with pytest.raises(DataError, match=r"no ILSVRC2012_img_train\.tar in"):
        prepare_imagenet(tmp_path, tmp_path / "D")


@pytest.mark.attack("one line", "folders without images, or with one class alone", "one line")
@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"train/cat": 2, "train/dog": 0}, "no images in the folder of class 'dog'"),
        ({"train/cat": 2}, "one class only, 'cat'"),
        ({"cat": 2}, "one class only, 'cat'"),
        ({"train/cat": 2, "train/dog": 2, "val/cow": 1}, "validation has a class 'cow'"),
        ({"val/cat": 2, "val/dog": 2}, "has a folder 'val' but no 'train'"),
        ({"train/cat": 1, "train/dog": 1, "val/cat": 1, "validation/cat": 1}, "both val and"),
        ({"train": 3}, "no class folders"),
        ({"": 3}, "no class folders"),
    ],
)
def test_folders_that_are_no_class_folders(tmp_path, split, message):
    root = tmp_path / "photos"
    for name, count in split.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            picture(i).save(root / name / f"{i}.jpg")
    with pytest.raises(DataError, match=message):
        prepare_folder(root, tmp_path / "D")


def test_folder_splits_and_plain_class_folders(tmp_path):
    root = write_folder(tmp_path / "a", ("train", "val", "test"))
    (root / "train" / "cat" / "up").symlink_to(root)  # Circular links end.
    folder = prepare_folder(root, tmp_path / "D")
    assert records.sizes(folder) == {"train": 6, "validation": 6, "test": 6}
    plain = prepare_folder(root / "test", tmp_path / "D", name="plain")
    assert records.sizes(plain) == {"train": 6}
    assert records.class_names(plain) == ("cat", "dog")


@pytest.mark.parametrize("form", ["folder", "above", "tar"])
def test_imagenette_carries_its_class_names(tmp_path, form):
    import tensorflow_datasets as tfds

    path = tfds.core.tfds_path("image_classification/imagenette_labels.txt")
    wnids = path.read_text().split()
    root = write_folder(tmp_path / "x" / "imagenette2", ("train", "val"), 1, wnids)
    source = {"folder": root, "above": root.parent, "tar": tmp_path / "x.tar"}[form]
    if form == "tar":
        with tarfile.open(source, "w") as tar:
            tar.add(root / "train", "train")
            tar.add(root / "val", "val")
    found = class_folders.imagenette(source)
    assert found.class_names[0] == "tench"
    assert found.class_names[-1] == "parachute"
    assert {split: [p.label for p in part] for split, part in found.splits.items()} == {
        "train": list(range(10)),
        "validation": list(range(10)),
    }
    photo = found.splits["validation"][3]
    assert photo.read() == (root / "val" / wnids[3] / "0.jpg").read_bytes()
    with pytest.raises(DataError, match="is not Imagenette, whose classes are n01440764"):
        class_folders.imagenette(write_folder(tmp_path / "y"))


@pytest.mark.attack("one line", "a tar of class folders that is damaged or compressed", "one line")
def test_damaged_and_packed_tars_of_folders(tmp_path):
    content = tar_bytes({f"train/{c}/1.jpg": encoded(picture(1)) for c in ("cat", "dog")})
    (tmp_path / "cut.tar").write_bytes(content[: content.index(b"train/dog")])
    with pytest.raises(DataError, match=r"cut\.tar is damaged or truncated after 1 members"):
        prepare_folder(tmp_path / "cut.tar", tmp_path / "D")
    import gzip

    (tmp_path / "a.tgz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match="unpack it first"):
        prepare_folder(tmp_path / "a.tgz", tmp_path / "D")


@pytest.mark.attack(
    "silent", "a photo vanishes between listing and reading", "one line; no set without it"
)
def test_photos_that_vanish_stop_the_run(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "a")
    found = class_folders.read(root)
    (root / "train" / "dog" / "1.jpg").unlink()
    monkeypatch.setitem(photos.KINDS, "folder", lambda _: found)
    with pytest.raises(DataError, match=r"cannot read .*dog/1\.jpg: No such file"):
        prepare_folder(root, tmp_path / "D")


@pytest.mark.attack(
    "silent",
    "class names with a newline, blanks at an end, or bytes that are not UTF-8",
    "one line asks to rename the folder",
)
@pytest.mark.parametrize("name", ["a\nb", " ", "cat ", "a\udcff"])
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_odd_class_names_are_refused(tmp_path, name, form):
    source = write_folder(tmp_path / "a", classes=("cat", name))
    if form == "tar":
        with tarfile.open(tmp_path / "a.tar", "w") as file:
            file.add(source, ".")
        source = tmp_path / "a.tar"
    with pytest.raises(DataError, match="rename it") as caught:
        prepare_folder(source, tmp_path / "D")
    assert str(caught.value).isprintable()


@pytest.mark.attack(
    "hangs",
    "FIFOs, broken links, hidden folders and those of tools among class folders",
    "they are listed as left out and never opened",
)
def test_hidden_tool_and_special_files_are_listed_never_opened(tmp_path):
    root = write_folder(tmp_path / "a" / "set")
    shutil.copytree(root / "train" / "dog", tmp_path / "a" / "__MACOSX")
    shutil.copytree(root / "train" / "dog", root / "train" / ".git")
    os.mkfifo(root / "train" / "cat" / "x.jpg")
    (root / "train" / "cat" / "._0.jpg").write_bytes(b"of a Mac")
    (root / "train" / "dog" / "lost.jpg").symlink_to(tmp_path / "nowhere")
    (root / "train" / "dog" / os.fsdecode(b"\xff.jpg")).write_bytes(encoded(picture(9)))
    deep = root / "train" / "dog" / "x" / "y"
    deep.mkdir(parents=True)
    folder = prepare_folder(tmp_path / "a", tmp_path / "D")
    assert records.class_names(folder) == ("cat", "dog")
    assert manifest(folder)["left_out"] == {
        "__MACOSX": "hidden, or a tool's own",
        "set/train/.git": "hidden, or a tool's own",
        "set/train/cat/._0.jpg": "hidden, or a tool's own",
        "set/train/cat/x.jpg": "not a file but a FIFO, socket, device or broken link",
        "set/train/dog/lost.jpg": "not a file but a FIFO, socket, device or broken link",
        "set/train/dog/x": "a folder too deep",
    }
    import tensorflow_datasets as tfds

    source = tfds.data_source("mine:1.0.0", split="train", data_dir=tmp_path / "D")
    names = [record["file_name"] for record in source]  # kept to the byte
    assert b"set/train/dog/\xff.jpg" in names


# Members that a plain tar of files does not have, and false headers.
def tar_of(*special):
    """A tar of two classes, then special members: (edit of the TarInfo, content)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as out:
        for name in ("cat/0.jpg", "dog/0.jpg"):
            info, content = tarfile.TarInfo(name), encoded(picture(len(name)))
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
        end = out.offset
    return file.getvalue()[:end] + b"".join(special) + bytes(1024)


def header(name, size=0, kind=b"0", **fields):
    """A header with each of `fields` at its offset `pNUMBER` and a correct checksum."""
    info = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    info[124:136] = b"%011o\0" % size if size >= 0 else b"\xff" + size.to_bytes(11, signed=True)
    info[156:157] = kind
    for place, content in fields.items():
        info[int(place[1:]) : int(place[1:]) + len(content)] = content
    info[148:156] = b" " * 8
    info[148:156] = b"%06o\0 " % sum(info)
    return bytes(info)


SPARSE_PAX = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
LIES = {
    "negative": [header("cat/1.jpg", -512)],
    "negative by pax": [header("x", 13, b"x"), b"13 size=-512\n".ljust(512, b"\0"), header("c")],
    "beyond the file": [header("cat/1.jpg", 8**11 - 1)],
    "a huge name": [header("x", 8**11 - 1, b"L")],
    "a negative name": [header("x", -512, b"L")],
    "huge attributes": [header("x", 8**11 - 1, b"x")],
    "a cut name": [header("x", 5, b"L"), b"cat/1".ljust(512, b"\0")],
    "attributes of no length": [header("x", 6, b"x"), b"0 a=b\n".ljust(512, b"\0"), header("c")],
    "a sparse map without end": [header("cat/s.jpg", 512, b"S", p482=b"\1"), b"\1" * 512],
    "a broken header": [b"\xff" * 512],
}


@pytest.mark.attack(
    "hangs", "tar headers with negative or huge sizes, or names that never end", "one line"
)
@pytest.mark.parametrize("lie", sorted(LIES))
def test_tar_headers_that_lie_are_refused(tmp_path, lie):
    (tmp_path / "x.tar").write_bytes(tar_of(*LIES[lie]))
    with pytest.raises(DataError, match=r"x\.tar is damaged or truncated after [23] members"):
        prepare_folder(tmp_path / "x.tar", tmp_path / "D")


@pytest.mark.attack(
    "silent", "links, devices and sparse files in a tar", "they are listed as left out"
)
def test_dropped_members_of_a_tar_are_listed(tmp_path):
    special = [
        header("cat/hard.jpg", 900, b"1", p157=b"cat/0.jpg"),  # The size is that of its file.
        header("cat/soft.jpg", 0, b"2", p157=b"0.jpg"),
        header("cat/fifo.jpg", 0, b"6"),
        header("cat/device.jpg", 0, b"3"),
        header("cat/sparse.jpg", 512, b"S", p386=b"%011o\0%011o\0" % (0, 512)),
        bytes(512),
        header("x", len(SPARSE_PAX), b"x"),
        SPARSE_PAX.ljust(512, b"\0"),
        header("cat/pax.jpg", 512),
        bytes(512),
        header("cat/odd.jpg", 512, b"V"),
        bytes(512),
        header("__MACOSX/cat/._0.jpg", 0),
    ]
    (tmp_path / "x.tar").write_bytes(tar_of(*special))
    folder = prepare_folder(tmp_path / "x.tar", tmp_path / "D")
    assert records.sizes(folder) == {"train": 2}
    assert manifest(folder)["left_out"] == {
        "cat/hard.jpg": "a hard link in the tar",
        "cat/soft.jpg": "a link in the tar",
        "cat/fifo.jpg": "a FIFO in the tar",
        "cat/device.jpg": "a device in the tar",
        "cat/sparse.jpg": "a sparse file in the tar",
        "cat/pax.jpg": "a sparse file in the tar",
        "cat/odd.jpg": "of type 'V' in the tar",
        "__MACOSX": "hidden, or a tool's own",
    }


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_are_read_as_tarfile_reads_them(tmp_path, form, rng):
    names = ["a", "d/é", "p" * 90 + "/" + "q" * 60, "x/" + "y" * 100, "z" * 100]
    names += ["l" * 300] if form != tarfile.USTAR_FORMAT else []
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=form, pax_headers={"comment": "all"}) as file:
        for i, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = 511 * i
            file.addfile(info, io.BytesIO(rng.bytes(info.size)))
        info = tarfile.TarInfo("folder")
        info.type = tarfile.DIRTYPE
        file.addfile(info)
    with tarfile.open(path) as file:
        expected = [(m.name, m.isdir(), m.offset_data, m.size) for m in file]
    with path.open("rb") as file:
        found = tar.members(file, path, needs_end=True)
    assert [(m.name, m.kind == tar.FOLDER, m.offset, m.size) for m in found] == expected


@pytest.mark.attack("silent", "a link in ImageNet's tar", "one line")
def test_the_official_tars_hold_files_alone(official, tmp_path):
    path = official / photo_sources.VALIDATION_TAR
    link = header("ILSVRC2012_val_00000005.JPEG", 0, b"2")
    path.write_bytes(link + path.read_bytes())
    with pytest.raises(DataError, match=r"holds 'ILSVRC2012_val_00000005\.JPEG', a link"):
        prepare_imagenet(official, tmp_path / "D")
