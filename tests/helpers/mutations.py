"""Ways to damage the program's inputs, as hypothesis strategies: bytes, JSON, tar headers."""

import io
import json
import tarfile

from hypothesis import strategies as st

# Values that an editor, a crash or a stranger may leave.
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([1e400, -1e400, 1e-320, 2**31, 2**63, -1, 0, "", "\n", "\0", "../..", "~"])
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.integers(-1, 3), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


def leaves(value, path=()):
    """The paths of everything inside a JSON value, itself included."""
    yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*path, key))


def replaced(value, path, new):
    """The value with what is at the path replaced."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def removed(value, path):
    """The value without what is at the path."""
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = removed(copy[path[0]], path[1:])
    return copy


@st.composite
def spoiled_json(draw, text):
    """A JSON text with one value replaced or removed, with one more key, or with damaged bytes."""
    value = json.loads(text)
    how = draw(st.sampled_from(["replace", "replace", "remove", "add", "bytes"]))
    if how == "bytes":
        return draw(spoiled_bytes(text.encode()))
    path = draw(st.sampled_from(list(leaves(value))))
    if how == "remove" and path:
        value = removed(value, path)
    elif how == "add" and isinstance(value, dict):
        value = {**value, draw(st.text(max_size=6)): draw(VALUES)}
    else:
        value = replaced(value, path, draw(VALUES))
    return json.dumps(value).encode()


@st.composite
def spoiled_bytes(draw, content):
    """Bytes that are cut off, overwritten, doubled or have others inserted."""
    how = draw(st.sampled_from(["cut", "overwrite", "insert", "empty", "zeros"]))
    place = draw(st.integers(0, max(len(content) - 1, 0)))
    some = draw(st.binary(min_size=1, max_size=12))
    if how == "cut":
        return content[:place]
    if how == "overwrite":
        return content[:place] + some + content[place + len(some) :]
    if how == "insert":
        return content[:place] + some + content[place:]
    return b"" if how == "empty" else bytes(len(content))


# The fields of a tar header: offset and length.
FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "size": (124, 12),
    "checksum": (148, 8),
    "type": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
    "prefix": (345, 155),
}
NUMBERS = [
    b"0" * 11 + b"\0",
    b"7" * 12,
    b"-1\0",
    b"\xff" * 12,
    b"\x80" + b"\xff" * 11,
    b"9" * 12,
    b"\x80" + b"\0" * 10 + b"\x01",
    b" " * 12,
    b"\0" * 12,
]
TYPES = [b"0", b"\0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"g", b"x", b"L", b"K", b"S", b"Z"]


@st.composite
def spoiled_tar(draw, content):
    """A tar with one field of one header changed (with a corrected checksum, or not)."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        offsets = [member.offset for member in tar]
    offset = draw(st.sampled_from(offsets))
    field = draw(st.sampled_from(sorted(FIELDS)))
    start, length = FIELDS[field]
    values = {"size": st.sampled_from(NUMBERS), "type": st.sampled_from(TYPES)}
    new = draw(values.get(field, st.binary(min_size=1, max_size=length)))[:length]
    header = bytearray(content[offset : offset + 512])
    header[start : start + length] = new.ljust(length, b"\0")
    if field != "checksum" and draw(st.booleans()):
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return content[:offset] + bytes(header) + content[offset + 512 :]
