"""Where the members of a tar lie, and what they are called: read from its headers alone, many at a
time, and refused where a member is no plain file inside.

A header is a block of 512 bytes, followed by the member's bytes in whole blocks. All blocks that
look like headers are read at once as one array; where these do not lie one behind the other (a
member may hold a tar itself), headers are followed one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater import plain
from headwater.errors import InputError

BLOCK = 512
"""Bytes of a tar's block (POSIX.1-2017, pax)."""
LONGEST_NAME = 4096
"""Bytes of a member's name, or of the pax header that says it [ours; PATH_MAX of Linux]."""
_TOGETHER = 2048
"""Headers that are read at once."""
_MOST_PAX = 1 << 20
"""Bytes of one pax header: far above what any writer needs [ours]."""
_MOST_NAMES = 32 << 20
"""Bytes that the names of a tar may take, or as many as it has: each is kept as wide as the longest
[ours].
"""
_EMPTY = 1 << 16
"""Blocks at the beginning of a tar of which more than half may not be headers of members without a
byte [ours].
"""
_FILE = (b"0", b"\0", b"7")
_FOLDER, _LONG_NAME, _LONG_LINK, _PAX, _PAX_ALL = b"5", b"L", b"K", b"x", b"g"
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a pipe",
    b"S": "a sparse file",
    b"M": "a part of a file that other volumes have the rest of",
    b"D": "a dump of a folder",
}
_MATTERS = (b" path=", b" size=", b" linkpath=", b" GNU.", b" SCHILY.realsize=")
"""Keys of pax headers that change where a member lies, or what it is."""
_OCTAL = np.full(256, -1, dtype=np.int8)
_OCTAL[ord("0") : ord("8")] = np.arange(8)


@dataclass(frozen=True)
class Members:
    """The plain files of a tar, in its order."""

    names: NDArray[np.bytes_]
    """bytes [num_members], UTF-8 as written."""
    offsets: NDArray[np.int64]
    """int64 [num_members]: the byte at which a member's own bytes begin."""
    sizes: NDArray[np.int64]
    """int64 [num_members]: bytes."""

    def __len__(self) -> int:
        return len(self.names)


def members(data: Any, where: str) -> Members:
    """The plain files of a whole tar, given as a buffer of its bytes.

    Folders are passed over. Raises InputError, naming the tar and the member, for links, devices,
    sparse files, names that are absolute or leave by '..', a damaged header, and a tar that ends
    too soon or is packed.
    """
    view = np.frombuffer(data, dtype=np.uint8)
    _check_beginning(view, where)
    _check_sizes(view, where)
    found = _at_once(view, where)
    if found is None:
        found = _one_by_one(view, where)
    _check_names(found.names, where)
    return found


def _check_sizes(view: NDArray[np.uint8], where: str) -> None:
    """Raises InputError for a tar that begins with tens of thousands of members without a byte:
    each takes many times the memory of its header.
    """
    if len(view) < _EMPTY * BLOCK:
        return
    blocks = view[: _EMPTY * BLOCK].reshape(-1, BLOCK)
    heads = blocks[blocks[:, 257] == ord("u")]
    heads = heads[(heads[:, 257:262] == np.frombuffer(b"ustar", dtype=np.uint8)).all(axis=1)]
    empty = (heads[:, 124:135] == ord("0")).all(axis=1)
    if 2 * int(empty.sum()) > _EMPTY:
        raise InputError(
            f"{where}: of its first {_EMPTY:,} blocks {int(empty.sum()):,} are members without a "
            "byte; pack the images again"
        )


def _check_beginning(view: NDArray[np.uint8], where: str) -> None:
    head = view[:6].tobytes()
    packed = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
    for beginning, name in packed.items():
        if head.startswith(beginning):
            raise InputError(
                f"{where}: is packed with {name}, so nothing in it can be read by its place; "
                "unpack it to a plain .tar (images are packed already)"
            )
    if len(view) < BLOCK:
        raise InputError(f"{where}: is no tar ({len(view):,} bytes)")


def _at_once(view: NDArray[np.uint8], where: str) -> Members | None:
    """All headers read as arrays; None where anything is out of the ordinary."""
    blocks = view[: len(view) // BLOCK * BLOCK].reshape(-1, BLOCK)
    like = np.flatnonzero(blocks[:, 257] == ord("u"))
    read = [
        _heads(blocks, like[start : start + _TOGETHER]) for start in range(0, len(like), _TOGETHER)
    ]
    parts = [part for part in read if part is not None]
    if len(parts) < len(read) or not parts:
        return None
    at = np.concatenate([part.at for part in parts])
    sizes = np.concatenate([part.sizes for part in parts])
    kinds = np.concatenate([part.kinds for part in parts])
    if not len(at) or at[0] != 0:
        return None
    ends = at + 1 + -(-sizes // BLOCK)
    if (ends[:-1] != at[1:]).any() or not _is_end(blocks, int(ends[-1])):
        return None
    files, notes = np.isin(kinds, np.frombuffer(b"0\x007", dtype=np.uint8)), kinds == ord("x")
    if not (files | notes | (kinds == ord("5"))).all():
        return None
    for start in range(0, len(at), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        own = notes[some]
        if own.any() and not _harmless(blocks[at[some][own] + 1], sizes[some][own]):
            return None
    width = max(part.names.shape[1] for part in parts)
    _check_width(len(at), width, len(view), where)
    names = np.zeros((len(at), width), dtype=np.uint8)
    start = 0
    for part in parts:
        names[start : start + len(part.names), : part.names.shape[1]] = part.names
        start += len(part.names)
    return Members(names[files].view(f"S{width}")[:, 0], (at[files] + 1) * BLOCK, sizes[files])


@dataclass(frozen=True)
class _Heads:
    """What some headers say."""

    at: NDArray[np.int64]
    """int64 [num_headers]: their blocks."""
    sizes: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    names: NDArray[np.uint8]
    """uint8 [num_headers, width]: zeros behind each name."""


def _heads(blocks: NDArray[np.uint8], like: NDArray[np.int64]) -> _Heads | None:
    """What those of some blocks say that are headers; None where one of them is out of the
    ordinary. A few thousand at a time, so that they stay in the processor's cache.
    """
    heads = blocks[like]
    called = (heads[:, 257:262] == np.frombuffer(b"ustar", dtype=np.uint8)).all(axis=1)
    if not called.all():
        like, heads = like[called], heads[called]
    digits = _OCTAL[heads[:, 124:135]].astype(np.int64)
    if (digits < 0).any() or heads[:, 345].any() or not _summed(heads):
        return None
    letters = heads[:, :100]
    width = max(1, int((letters != 0).any(axis=0).sum()))  # names begin at the first byte
    sizes = digits @ (8 ** np.arange(10, -1, -1, dtype=np.int64))
    return _Heads(like, sizes, heads[:, 156].copy(), letters[:, :width].copy())


def _harmless(told: NDArray[np.uint8], sizes: NDArray[np.int64]) -> bool:
    """Whether pax headers, a block each, say nothing of where a member lies or what it is. Python's
    tarfile writes the time to a fraction of a second, and nothing else.
    """
    if (sizes > BLOCK).any():
        return False
    length = 10 * (told[:, 0].astype(np.int64) - ord("0")) + told[:, 1] - ord("0")
    times = (told[:, 2:9] == np.frombuffer(b" mtime=", dtype=np.uint8)).all(axis=1)
    others = told[~(times & (length == sizes))].tobytes()
    return not any(key in others for key in _MATTERS)


_LANES = np.uint64(0x00FF00FF00FF00FF)


def _summed(heads: NDArray[np.uint8]) -> bool:
    """Whether every header has the checksum that it says."""
    digits = _OCTAL[heads[:, 148:154]].astype(np.int64)
    if (digits < 0).any():
        return False
    said = digits @ (8 ** np.arange(5, -1, -1, dtype=np.int64))
    words = heads.view(np.uint64)  # sums of bytes, four at a time in 16 bits each: 64 x 510 fit
    lanes = ((words & _LANES) + ((words >> np.uint64(8)) & _LANES)).sum(axis=1)
    sums = lanes.view(np.uint16).reshape(-1, 4).sum(axis=1, dtype=np.int64)
    sums -= heads[:, 148:156].sum(axis=1, dtype=np.int64)
    return bool((sums + 8 * ord(" ") == said).all())


def _is_end(blocks: NDArray[np.uint8], at: int) -> bool:
    """Whether a tar ends at a block: it is there, and there are zeros alone from there on."""
    return at < len(blocks) and not blocks[at:].any()


def _one_by_one(view: NDArray[np.uint8], where: str) -> Members:
    names: list[bytes] = []
    offsets: list[int] = []
    sizes: list[int] = []
    at, long_name, pax, ended = 0, None, dict[bytes, bytes](), False
    while at + BLOCK <= len(view):
        head = view[at : at + BLOCK].tobytes()
        if not any(head):
            ended = True
            if view[at:].any():
                raise InputError(
                    f"{where}: goes on behind its end, at byte {at:,}: two tars that were joined, "
                    "or a damaged one; pack the images again"
                )
            break
        size = _header_size(head, at, where)
        kind, begin = head[156:157], at + BLOCK
        own = pax if kind in _FILE else {}
        if b"size" in own:
            size = _number(own[b"size"], where)
        at = begin + -(-size // BLOCK) * BLOCK
        if begin + size > len(view):
            raise InputError(
                f"{where}: ends too soon: {_told(_name(head))} should have {size:,} bytes, and "
                f"{len(view) - begin:,} are there; get the file again"
            )
        if kind == _LONG_NAME:
            long_name = _inner(view, begin, size, where).rstrip(b"\0")
            continue
        if kind in (_LONG_LINK, _PAX_ALL):
            _inner(view, begin, size, where)
            continue
        if kind == _PAX:
            pax = _records(_inner(view, begin, size, where), where)
            continue
        name = pax.get(b"path") or long_name or _name(head)
        if kind in _REFUSED or any(key.startswith(b"GNU.sparse") for key in pax):
            what = _REFUSED.get(kind, _REFUSED[b"S"])
            raise InputError(
                f"{where}: {_told(name)} is {what}, and shards hold plain files alone; pack the "
                "images again"
            )
        if len(name) > LONGEST_NAME:
            raise InputError(f"{where}: the name of a member has {len(name):,} bytes")
        if kind in _FILE:
            names.append(name)
            offsets.append(begin)
            sizes.append(size)
        elif kind != _FOLDER:
            raise InputError(f"{where}: {_told(name)} is of a kind that is unknown ({kind!r})")
        long_name, pax = None, {}
    if not ended:
        raise InputError(
            f"{where}: ends too soon: the empty block is missing that ends a tar, so members may "
            "be, too; get the file again"
        )
    _check_width(len(names), max(map(len, names), default=1), len(view), where)
    return Members(
        np.array(names or [], dtype=f"S{max(map(len, names), default=1) or 1}"),
        np.array(offsets, dtype=np.int64),
        np.array(sizes, dtype=np.int64),
    )


def _header_size(head: bytes, at: int, where: str) -> int:
    """The size that a header says. Raises InputError where its checksum is wrong."""
    try:
        said = int(head[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        said = -1
    if said != sum(head) - sum(head[148:156]) + 8 * ord(" "):
        kind = "is no tar" if at == 0 else f"is damaged at byte {at:,}: there is no header"
        raise InputError(f"{where}: {kind}; get the file again")
    field = head[124:136]
    if field[0] in (0x80, 0xFF):  # base 256, for sizes from 8 GiB
        return int.from_bytes(field[1:], "big")
    return _number(field.strip(b" \0") or b"0", where, 8)


def _number(text: bytes, where: str, base: int = 10) -> int:
    try:
        value = int(text, base)
    except ValueError:
        value = -1
    if value < 0:
        raise InputError(f"{where}: a header says the size {text[:20]!r}; get the file again")
    return value


def _inner(view: NDArray[np.uint8], begin: int, size: int, where: str) -> bytes:
    """The bytes of a header that belongs to the next member."""
    if size > _MOST_PAX:
        raise InputError(f"{where}: a name takes {size:,} bytes, which none here should")
    return view[begin : begin + size].tobytes()


def _records(data: bytes, where: str) -> dict[bytes, bytes]:
    """What a pax header says by key. Raises InputError where it is damaged."""
    found, at = dict[bytes, bytes](), 0
    while at < len(data):
        digits, space, _ = data[at : at + 20].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = data[at : at + length]
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        if length < 5 or not equals or not record.endswith(b"\n"):
            if not data[at:].strip(b"\0"):
                break
            raise InputError(f"{where}: a pax header is damaged; get the file again")
        found[key] = value[:-1]
        at += length
    return found


def _name(head: bytes) -> bytes:
    name = head[:100].split(b"\0", 1)[0]
    prefix = head[345:500].split(b"\0", 1)[0] if head[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _check_width(count: int, width: int, size: int, where: str) -> None:
    if count * width > max(_MOST_NAMES, size):
        raise InputError(
            f"{where}: has {count:,} members, and the name of one has {width:,} bytes; names of "
            "equal length take less memory, so pack the images again"
        )


def _check_names(names: NDArray[np.bytes_], where: str) -> None:
    """Raises InputError for the first name that is absolute, leaves by '..' or cannot be read."""
    if not len(names):
        return
    width = names.dtype.itemsize
    letters = np.ascontiguousarray(names).view(np.uint8).reshape(len(names), width)
    odd = (letters[:, 0] == ord("/")) | (letters == ord("\\")).any(axis=1)
    odd |= (letters > 126).any(axis=1) | ((letters > 0) & (letters < 32)).any(axis=1)
    if width > 1:
        odd |= ((letters[:, :-1] == ord(".")) & (letters[:, 1:] == ord("."))).any(axis=1)
        odd |= (letters[:, 1] == ord(":")) & (letters[:, 0] > 64)
    for row in np.flatnonzero(odd).tolist():
        _check_name(bytes(names[row]), where)


def _check_name(name: bytes, where: str) -> None:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{where}: the name {_told(name)} is not UTF-8; rename it") from None
    found = plain.stray(text)
    if found is not None:
        raise InputError(f"{where}: the name {_told(name)} holds {found}; rename it")
    if "\\" in text:
        raise InputError(f"{where}: the name {_told(name)} has a backslash; rename it")
    if text.startswith("/") or re.match(r"[A-Za-z]:", text):
        raise InputError(
            f"{where}: the name {_told(name)} is absolute; shards are read by names "
            "inside them, so pack the images again"
        )
    if ".." in text.split("/"):
        raise InputError(
            f"{where}: the name {_told(name)} leaves the tar by '..'; pack the images again"
        )


def _told(name: bytes) -> str:
    return repr(plain.line(name[:200].decode("utf-8", "replace")))
