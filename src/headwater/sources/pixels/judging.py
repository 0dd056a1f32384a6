"""Whether a file is an image that can be read: it is opened and decoded once, as training would,
and what is wrong is said in a few words that others share.

A process of `python -m headwater.sources.pixels.judging` answers questions as JSON lines: it is
given paths, or images themselves behind the line, and says what is wrong with each.

Stricter than decoding in two things that are wrong without a word otherwise: a PNG whose checksums
are wrong, and a JPEG whose picture data ends too soon or is no code, which Pillow fills with grey.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from headwater.sources.formats import MAX_FILE_BYTES
from headwater.sources.pixels.conversions import conversions_of
from headwater.sources.pixels.decoding import Undecodable, decode_strictly
from headwater.sources.pixels.kept import checksum

EMPTY, CUT, DAMAGED = "empty file", "cut short", "damaged"
TEXT, HTML, XML, POINTER = "text", "HTML page", "XML or SVG", "Git LFS pointer"
ZEROS, NO_IMAGE, CHECKSUM = "zero bytes only", "no image", "wrong checksum"
MISSING, FORBIDDEN, NO_FILE = "no such file", "may not be read", "no regular file"
LARGE = f"over {MAX_FILE_BYTES >> 20} MiB"
CRASH = "ends the decoder"

_NOT_THE_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR}
"""Errors that say nothing of the file."""
_OTHERS = (
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf", "7-Zip"),
    (b"8BPS", "Photoshop"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x1aE\xdf\xa3", "Matroska"),
    (b"OggS", "Ogg"),
    (b"ID3", "MP3"),
    (b"\x93NUMPY", "NumPy"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "SQLite"),
    (b"\x00\x00\x01\x00", "icon"),
    (b"gimp xcf", "GIMP"),
)
_PICTURES = (
    *(b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\x00", b"MM\x00*"),
    *(b"\x00\x00\x00\x0cjP", b"\xff\x4f\xff\x51"),
)
"""How files of the formats that are opened begin."""


_PNM = re.compile(rb"P[1-6]\s[\s#\d]")


@dataclass(frozen=True)
class Judgement:
    """What one file is."""

    kind: str | None = None
    """What is wrong with it; None where it can be read."""
    pixels: NDArray[np.uint8] | None = None
    """uint8 [height, width, 3], where it can be read."""
    converted: tuple[str, ...] = ()
    """What decoding did to it (headwater.sources.pixels.conversions), where it can be read."""


def judge(path: str, image_size: int) -> Judgement:
    """Opens and decodes a file. Raises OSError and MemoryError where the machine is to blame."""
    try:
        data = _read(path)
    except OSError as error:
        return Judgement(kind_of(error))
    if isinstance(data, str):
        return Judgement(data)
    return judge_bytes(data, image_size)


def kind_of(error: OSError) -> str:
    """What is wrong with a file that cannot be opened. Raises what is no fault of it."""
    if error.errno in _NOT_THE_FILES:
        raise error
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return MISSING
    if error.errno in (errno.EACCES, errno.EPERM):
        return FORBIDDEN
    return f"cannot be read ({error.strerror or error})"


def lasting(kind: str) -> bool:
    """Whether what is wrong lies in the file's bytes, and so stays until they change."""
    return kind not in (MISSING, FORBIDDEN, NO_FILE) and not kind.startswith("cannot be")


def judge_bytes(data: bytes, image_size: int) -> Judgement:
    """What a file's bytes are."""
    if not data:
        return Judgement(EMPTY)
    try:
        pixels = decode_strictly(data, image_size, "")
    except Undecodable as error:
        if error.kind in ("damaged", "no image that is read"):
            return Judgement(_told(data, str(error)))
        return Judgement(error.kind)
    if data.startswith(b"\x89PNG") and _wrong_checksum(data):
        return Judgement(CHECKSUM)
    return Judgement(None, pixels, conversions_of(data))


def _read(path: str) -> bytes | str:
    """A file's bytes, or what is wrong with it."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # no pipe is waited for
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return NO_FILE
        if status.st_size > MAX_FILE_BYTES:
            return LARGE
        return file.read(MAX_FILE_BYTES + 1)


def _told(data: bytes, message: str) -> str:
    """What bytes that cannot be decoded are."""
    if not data.strip(b"\x00"):
        return ZEROS
    sound_or_video = data.startswith(b"RIFF") and data[8:12] not in (b"WEBP", b"")
    pictures = data.startswith(_PICTURES) or _PNM.match(data) or data[4:12] == b"ftypavif"
    if pictures and not sound_or_video:
        return CUT if _is_cut(data, message) else DAMAGED
    for beginning, name in _OTHERS:
        if data.startswith(beginning):
            return f"another kind of file ({name})"
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("latin-1").strip()
        names = {"avis": "AVIF", "heic": "HEIC", "heix": "HEIC", "mif1": "HEIF"}
        return f"another kind of file ({names.get(brand, 'video')})"
    if sound_or_video:
        return "another kind of file (sound or video)"
    return _text(data[:2048]) or NO_IMAGE


def _text(data: bytes) -> str | None:
    """What kind of text this is; None where it is none."""
    try:
        text = data.decode("utf-8-sig", errors="ignore" if len(data) == 2048 else "strict")
    except UnicodeDecodeError:
        return None
    if any(ord(letter) < 32 and letter not in "\t\r\n\f" for letter in text):
        return None
    lower = text.lstrip().lower()
    if lower.startswith("version https://git-lfs"):
        return POINTER
    if "<html" in lower or "<!doctype html" in lower or "<body" in lower:
        return HTML
    return XML if lower.startswith(("<?xml", "<svg")) else TEXT


def _is_cut(data: bytes, message: str) -> bool:
    """Whether a picture that cannot be decoded lacks its end."""
    if "truncated" in message.partition("damaged or truncated (")[2]:
        return True
    if data.startswith(b"\xff\xd8"):
        return not data.rstrip(b"\x00").endswith(b"\xff\xd9")
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    if data.startswith(b"GIF8"):
        return not data.endswith(b";")
    if data.startswith(b"RIFF"):
        return len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data.startswith(b"BM"):
        return len(data) < 14 or int.from_bytes(data[2:6], "little") > len(data)
    return len(data) < 64


def _wrong_checksum(data: bytes) -> bool:
    """Whether a chunk of a PNG that its picture needs has another checksum than it says; Pillow
    does not look at those of the pixels.
    """
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            return False
        needed = data[at + 4 : at + 5].isupper()
        said = int.from_bytes(data[end : end + 4], "big")
        if needed and zlib.crc32(memoryview(data)[at + 4 : end]) != said:
            return True
        if data[at + 4 : at + 8] == b"IEND":
            return False
        at = end + 4
    return False


def answer(question: dict[str, Any], sent: BinaryIO) -> dict[str, Any]:
    """What is wrong with each of some paths, or of the images that follow in `sent`, or else what
    is converted, size and checksum; with `spool`, their pixels are written to that file one after
    another.
    """
    image_size = question["image_size"]
    if "paths" in question:
        judged = [judge(path, image_size) for path in question["paths"]]
    else:
        judged = list(_of_sent(sent, question["sent"], image_size))
    kept = [one.pixels for one in judged if one.pixels is not None]
    if question["spool"] is not None:
        try:
            with Path(question["spool"]).open("wb") as file:
                for pixels in kept:
                    file.write(np.ascontiguousarray(pixels).data)
        except OSError:  # a disk that is full: whoever reads the file finds that it is short
            Path(question["spool"]).unlink(missing_ok=True)
    sizes = [None if one.pixels is None else list(one.pixels.shape[:2]) for one in judged]
    sums = [None if one.pixels is None else checksum(one.pixels) for one in judged]
    converted = [one.converted for one in judged]
    kinds = [one.kind for one in judged]
    return {"kinds": kinds, "converted": converted, "sizes": sizes, "sums": sums}


def _of_sent(sent: BinaryIO, count: int, image_size: int) -> Iterator[Judgement]:
    """Images, each behind a line that says its size, or what is wrong with it."""
    for _ in range(count):
        told = json.loads(sent.readline())
        if "kind" in told:
            yield Judgement(told["kind"])
        else:
            yield judge_bytes(sent.read(told["size"]), image_size)


def main() -> None:
    """Answers questions until there are none, or until the machine fails."""
    out, questions = sys.stdout, sys.stdin.buffer
    sys.stdout = sys.stderr
    warnings.simplefilter("ignore")
    out.write("{}\n")
    out.flush()
    for line in iter(questions.readline, b""):
        try:
            said = answer(json.loads(line), questions)
        except (OSError, MemoryError) as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(said) + "\n")
        out.flush()
        if "error" in said:  # what is left of the question is no question
            return


if __name__ == "__main__":
    main()
