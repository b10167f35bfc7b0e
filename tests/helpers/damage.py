"""Ten kinds of damage to a checkpoint folder, each a function of the folder."""

import shutil


def largest(folder):
    """The largest of its data files, or of all files if it has no data files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    data = [path for path in files if path.parent.name == "d"]
    return max(data or files, key=lambda path: path.stat().st_size)


def flip(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def truncate(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def swap(folder):
    """A file of the right name and size, with other content (a write that never arrived)."""
    path = largest(folder)
    path.write_bytes(bytes(path.stat().st_size))


KINDS = {
    "a byte of the parameters flipped": lambda folder: flip(largest(folder)),
    "the parameters cut off": lambda folder: truncate(largest(folder)),
    "the parameters deleted": lambda folder: largest(folder).unlink(),
    "the parameters all zeros": swap,
    "an item deleted": lambda folder: shutil.rmtree(folder / "rest"),
    "a description emptied": lambda folder: truncate(folder / "rest" / "_METADATA", 0),
    "the metrics broken": lambda folder: (folder / "metrics" / "metrics").write_text("{"),
    "the metadata deleted": lambda folder: (folder / "_CHECKPOINT_METADATA").unlink(),
    "the checksums cut off": lambda folder: truncate(folder / "SHA256SUMS", 0.6),
    "everything deleted": empty,
}
