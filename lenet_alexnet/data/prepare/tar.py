"""Lists the members of a plain tar by their place in the file; nothing is unpacked.

Python's `tarfile` trusts the headers: a negative size (CVE-2025-8194) or a truncated sparse member
makes it loop forever, it allocates a name of any size, and takes a damaged header for the end.

The format: "Basic Tar Format" in GNU tar's manual, and pax in POSIX.1-2001.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from lenet_alexnet.errors import DataError

BLOCK = 512
LONGEST = 1 << 20  # bytes of a name or of a member's pax records
FILE, FOLDER = "file", "folder"
KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"5": FOLDER,
    b"1": "a hard link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a FIFO",
    b"S": "a sparse file",
}
GNU_NAME, GNU_LINK, PAX, PAX_ALL, PAX_SUN = b"L", b"K", b"x", b"g", b"X"


class Member(NamedTuple):
    """`size` bytes at `offset` of the file that holds the tar."""

    name: str
    kind: str  # FILE, FOLDER, or another of `KINDS`
    offset: int
    size: int


class _Damaged(Exception):
    """A header is invalid; the message has the reason."""


def members(
    file: IO[bytes],
    path: str | Path,
    start: int = 0,
    size: int | None = None,
    *,
    needs_end: bool,
) -> list[Member]:
    """The members of the tar at `start` of an open file, in order.

    Args:
      file: open for reading.
      path: its name in messages.
      start: where the tar begins.
      size: its length; None: to the end of the file.
      needs_end: whether its end mark, two zero blocks, is required. It shows that the tar was not
        cut between members, but some tars whose members are counted have none.

    Raises:
      DataError: it is not a plain tar, or damaged.
    """
    length = os.fstat(file.fileno()).st_size - start
    length = length if size is None else min(size, length)
    found: list[Member] = []
    try:
        for member in _read(file, start, length, needs_end):
            found.append(member)
    except _Damaged as error:
        if not found:
            hint = _hint(path)
            raise DataError(f"{path} is not a plain tar, or damaged: {error}{hint}") from error
        raise DataError(
            f"{path} is damaged or truncated after {len(found):,} members: {error}"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return found


def _read(file: IO[bytes], start: int, length: int, needs_end: bool) -> Iterator[Member]:
    position, name, records = 0, None, dict[str, str]()
    for_all = dict[str, str]()
    while True:
        header = _bytes(file, start, position, min(BLOCK, length - position))
        if not any(header):
            cut = name is not None or records
            if cut or len(header) < (BLOCK if needs_end or position == 0 else 0):
                raise _Damaged("it ends without its end mark")
            return
        kind, size = _check(header), _number(header[124:136])
        offset = position + BLOCK
        if kind in (GNU_NAME, GNU_LINK, PAX, PAX_ALL, PAX_SUN):
            if not 0 <= size <= LONGEST:
                raise _Damaged(f"a name or list of {size} bytes")
            content = _bytes(file, start, offset, size)
            if kind == GNU_NAME:
                name = _text(content)
            elif kind == PAX_ALL:
                for_all |= _records(content)
            elif kind != GNU_LINK:
                records |= _records(content)
        else:
            pax = for_all | records
            size = _decimal(pax["size"]) if "size" in pax else size
            what = KINDS.get(kind, f"of type {kind.decode('latin-1')!r}")
            if any(key.startswith("GNU.sparse") for key in pax):
                what = KINDS[b"S"]
            given = pax.get("path") or name or _name(header)
            if what == FILE and given.endswith("/"):  # as the oldest tars have it
                what = FOLDER
            if kind == b"S":
                offset = _after_map(file, start, offset, header)
            # Members without content may have a size: a hard link has that of its file.
            size = 0 if kind in b"123456" else size
            if not 0 <= size <= length - offset:
                raise _Damaged(f"{given!r} is of {size} bytes")
            yield Member(given.rstrip("/"), what, start + offset, size)
            name, records = None, {}
        position = offset + -(-size // BLOCK) * BLOCK


def _after_map(file: IO[bytes], start: int, position: int, header: bytes) -> int:
    """Where the content of a sparse file begins: after the blocks that continue its map."""
    more = header[482]
    while more:
        more = _bytes(file, start, position, BLOCK)[504]
        position += BLOCK
    return position


def _bytes(file: IO[bytes], start: int, position: int, size: int) -> bytes:
    file.seek(start + position)
    content = file.read(max(size, 0))
    if len(content) < size:
        raise _Damaged("it ends within a member")
    return content


def _check(header: bytes) -> bytes:
    """The kind of a member; raises _Damaged if its header is truncated or damaged."""
    if len(header) < BLOCK:
        raise _Damaged("it ends within a header")
    # The checksum counts its own field as blanks.
    counted = header[:148] + b" " * 8 + header[156:]
    signed = sum(byte - 256 * (byte > 127) for byte in counted)  # as Sun's tar counts
    if _number(header[148:156]) not in (sum(counted), signed):
        raise _Damaged("the checksum of a header is wrong")
    return header[156:157]


def _number(field: bytes) -> int:
    """Octal digits, or base 256 if the first bit is set (GNU), negative if the second is too."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big", signed=False) - (
            256 ** (len(field) - 1) if field[0] == 0xFF else 0
        )
    digits = field.split(b"\0")[0].strip()
    try:
        return int(digits or b"0", 8)
    except ValueError:
        raise _Damaged("a header without numbers") from None


def _name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500])
    return f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "surrogateescape")


def _records(content: bytes) -> dict[str, str]:
    """Pax records: "LENGTH KEY=VALUE\\n", where LENGTH is that of the whole record."""
    found = {}
    while content.strip(b"\0"):
        digits, blank, _ = content.partition(b" ")
        length = _decimal(digits.decode("latin-1")) if blank and len(digits) < 9 else 0
        record = content[len(digits) + 1 : length]
        key, equals, value = record.partition(b"=")
        if not equals or record[-1:] != b"\n":
            raise _Damaged("a broken list of attributes")
        found[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "surrogateescape")
        content = content[length:]
    return found


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise _Damaged(f"'{text[:20]}' is not a size")
    return int(text[:20])


def _hint(path: str | Path) -> str:
    packed = str(path).lower().endswith((".tgz", ".gz", ".xz", ".bz2", ".zip"))
    return " (unpack it first, and name the folder)" if packed else ""
