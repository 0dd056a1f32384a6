"""Shards that mean harm: each is refused, or its sample found to be bad, in less than a second and
with less than 256 MB of memory; what is pickled is never opened.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.sources.shards.tars import add, jpeg, write

ROOT = Path(__file__).parents[3]
Opened = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    """Opens a folder of shards in a process that is measured."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.sources.shards.hostile"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask(root: Path) -> dict[str, Any]:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{root}\n")
            process.stdin.flush()
            said: dict[str, Any] = json.loads(process.stdout.readline())
            return said

        yield ask
        process.stdin.close()


def cheap(said: dict[str, Any]) -> dict[str, Any]:
    assert said["seconds"] < 1 and said["mb"] < 256, said
    return said


def head(name: bytes, size: int, kind: bytes = b"0", link: bytes = b"") -> bytes:
    """A header by hand, of any promise."""
    said = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    block = name[:100].ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + said + b"0" * 11
    block += b"\0" + b" " * 8 + kind + link.ljust(100, b"\0") + b"ustar\x0000"
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(name: bytes, data: bytes, **words: Any) -> bytes:
    return head(name, len(data), **words) + padded(data)


def special(kind: bytes, **words: Any) -> bytes:
    """A tar with a photo, and behind it a member that is no plain file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "a.jpg", jpeg(1))
        add(tar, "b.jpg", jpeg(2) if kind == b"0" else b"", type=kind, **words)
    return buffer.getvalue()


def sparse(**words: str) -> bytes:
    return special(b"0", pax_headers={f"GNU.sparse.{key}": value for key, value in words.items()})


PHOTO, END = member(b"a.jpg", jpeg(1)), bytes(1024)
TARS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a way out": (lambda: PHOTO + member(b"../../x.jpg", b"x") + END, "leaves the tar by '..'"),
    "a way out of a folder": (lambda: member(b"a/../../x.jpg", b"x") + END, "by '..'"),
    "an absolute name": (lambda: PHOTO + member(b"/etc/x.jpg", b"x") + END, "is absolute"),
    "a drive": (lambda: PHOTO + member(b"C:/x.jpg", b"x") + END, "is absolute"),
    "a hard link": (lambda: special(b"1", linkname="/etc/passwd"), "is a hard link"),
    "a symbolic link": (lambda: special(b"2", linkname="/etc/passwd"), "is a symbolic link"),
    "a character device": (lambda: special(b"3", devmajor=1, devminor=5), "a character device"),
    "a block device": (lambda: special(b"4"), "is a block device"),
    "a pipe": (lambda: special(b"6"), "is a pipe"),
    "a sparse file of GNU": (lambda: special(b"S"), "is a sparse file"),
    "a sparse file of pax 0.1": (lambda: sparse(map="0,1", size=str(1 << 50)), "a sparse file"),
    "a sparse file of pax 1.0": (
        lambda: sparse(major="1", minor="0", realsize=str(1 << 50)),
        "is a sparse file",
    ),
    "a pax header of 1 TB": (lambda: PHOTO + head(b"x", 1 << 40, b"x") + END, "ends too soon"),
    "a size of 1 TB": (
        lambda: special(b"0", pax_headers={"size": str(1 << 40)}),
        "ends too soon",
    ),
    "a size below zero": (lambda: special(b"0", pax_headers={"size": "-512"}), "says the size"),
    "a name of 1 MB": (
        lambda: member(b"././@LongLink", b"n" * 1_000_000, kind=b"L") + PHOTO + END,
        "the name of a member has 1,000,000 bytes",
    ),
    "a name of 1 MB among many": (
        lambda: PHOTO * 9_000 + member(b"L", b"n" * 10**6, kind=b"L") + PHOTO + END,
        "the name of a member has 1,000,000 bytes",
    ),
    "a name of 1 MB by pax": (
        lambda: member(b"x", b"1000013 path=" + b"n" * 999_999 + b"\n", kind=b"x") + PHOTO + END,
        "the name of a member has",
    ),
    "a name of 4 KB among many": (
        lambda: (
            b"".join(member(b"%d.txt" % at, b"x") for at in range(20_000))
            + member(b"L", b"n" * 4_000, kind=b"L")
            + PHOTO
            + END
        ),
        "the name of one has 4,000 bytes",
    ),
    "a gzip bomb": (lambda: gzip.compress(bytes(1 << 27)), "is packed with gzip"),
    "a JSON of 2 GB by its header": (
        lambda: PHOTO + head(b"a.json", 1 << 31) + b"{}" + END,
        "ends too soon",
    ),
}


@pytest.mark.parametrize("name", TARS)
def test_a_hostile_tar_is_refused_at_once(name: str, opened: Opened, tmp_path: Path) -> None:
    make, words = TARS[name]
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "0.tar").write_bytes(make())
    said = cheap(opened(tmp_path / "web"))
    assert said["refused"] is not None and words in said["refused"]
    assert said["refused"].startswith("web: ") and len(said["refused"]) < 500


def test_a_million_members_without_a_byte_are_refused_at_once(
    opened: Opened, tmp_path: Path
) -> None:
    (tmp_path / "web").mkdir()
    block = b"".join(head(b"%06d.jpg" % at, 0) for at in range(1000))
    with (tmp_path / "web" / "0.tar").open("wb") as file:
        for _ in range(1000):
            file.write(block)
        file.write(END)
    said = cheap(opened(tmp_path / "web"))
    (tmp_path / "web" / "0.tar").unlink()
    assert "65,536 are members without a byte" in said["refused"]


# images
def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def png(width: int, height: int, *more: bytes) -> bytes:
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    shape = chunk(b"IHDR", size + bytes([8, 2, 0, 0, 0]))
    rows = chunk(b"IDAT", zlib.compress(bytes(1 << 22), 9))
    return b"\x89PNG\r\n\x1a\n" + shape + b"".join(more) + rows + chunk(b"IEND", b"")


def webp(width: int, height: int) -> bytes:
    """A lossless WebP that says its size, and holds next to nothing."""
    bits = (width - 1) | (height - 1) << 14
    body = b"\x2f" + bits.to_bytes(4, "little") + bytes(64)
    return riff(b"VP8L" + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2))


def riff(body: bytes) -> bytes:
    return b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body


def extended_webp(side: int) -> bytes:
    """A WebP whose canvas is larger than any frame."""
    size = (side - 1).to_bytes(3, "little")
    frame = webp(16, 16)[12:]
    return riff(b"VP8X" + (10).to_bytes(4, "little") + bytes(4) + size + size + frame)


def gif(width: int, height: int, frames: int = 1) -> bytes:
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    palette = bytes(6)
    frame = b"\x2c" + bytes(4) + size + b"\x00" + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + size + b"\x80\x00\x00" + palette + frame * frames + b";"


def animated(form: str, frames: int, side: int) -> bytes:
    images = [Image.new("RGB", (side, side), (at % 256, at // 256, 0)) for at in range(frames)]
    file = io.BytesIO()
    images[0].save(file, form, save_all=True, append_images=images[1:])
    return file.getvalue()


def wide_jpeg() -> bytes:
    data = bytearray(jpeg(1))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = (65_500).to_bytes(2, "big") * 2
    return bytes(data)


def bmp(side: int) -> bytes:
    words = (40, side, side, 1 | 24 << 16, 0, 0, 0, 0, 0, 0)
    return b"BM" + bytes(8) + (54).to_bytes(4, "little") + np.array(words, "<i4").tobytes() + b"x"


TEXT_BOMB = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 28), 9))
PROFILE_BOMB = chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(1 << 28), 9))
IMAGES: dict[str, tuple[str, Callable[[], bytes], str | None]] = {
    "PNG of 60,000": ("png", lambda: png(60_000, 60_000), "too many pixels"),
    "PNG of a line": ("png", lambda: png(2**31 - 1, 1), "too many pixels"),
    "PNG with a text of 256 MB": ("png", lambda: png(64, 64, TEXT_BOMB), None),
    "PNG with a profile of 256 MB": ("png", lambda: png(64, 64, PROFILE_BOMB), None),
    "WebP of 16,383": ("webp", lambda: webp(16_383, 16_383), "too many pixels"),
    "WebP of a canvas of 60,000": ("webp", lambda: extended_webp(60_000), "too many pixels"),
    "WebP of 300 frames": ("webp", lambda: animated("WEBP", 300, 16), ""),
    "GIF of 60,000": ("gif", lambda: gif(60_000, 60_000), "too many pixels"),
    "GIF of 100,000 frames": ("gif", lambda: gif(16, 16, 100_000), None),
    "GIF of many large frames": ("gif", lambda: gif(3_000, 3_000, 10_000), None),
    "APNG of 300 frames": ("png", lambda: animated("PNG", 300, 16), ""),
    "JPEG of 65,500": ("jpg", wide_jpeg, "too many pixels"),
    "BMP of 60,000": ("bmp", lambda: bmp(60_000), "too many pixels"),
    "PPM of 60,000": ("ppm", lambda: b"P6 60000 60000 255\n" + bytes(64), "too many pixels"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_unpacks_to_much_is_a_bad_sample_at_once(
    name: str, opened: Opened, tmp_path: Path
) -> None:
    """'' is said of one that is sound, of which the first picture is taken; None: either."""
    ending, make, kind = IMAGES[name]
    write(tmp_path / "web" / "0.tar", [(f"a.{ending}", make()), ("b.jpg", jpeg(1))])
    said = cheap(opened(tmp_path / "web"))
    assert said["refused"] is None, said
    assert "b" not in said["bad"]
    if kind is not None:
        assert said["bad"].get("a", "") == kind, said


# what stands beside images
def json_of(count: int) -> bytes:
    return json.dumps({f"field {at}": at for at in range(count)}).encode()


TEXTS: dict[str, tuple[list[bytes], str]] = {
    "deep objects": ([b'{"a":' * 100_000 + b"1" + b"}" * 100_000], "1 .json that is no object"),
    "deep lists": (
        [b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
        "1 .json that is no object",
    ),
    "open lists, one after the other": ([b'{"a":' + b"[" * 100 + b"{}"] * 200, "200 .json that"),
    "closed within a text": ([b'{"a":[[[["]]]]"}'] * 200, "200 .json that is no object"),
    "many digits": ([b'{"a":' + b"9" * 900_000 + b"}"], ""),
    "2 MB": ([b'{"a":"' + b"x" * 2_000_000 + b'"}'], "1 .json over 1 MiB"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_json_that_is_nested_or_too_long_is_left_out_and_told(
    name: str, opened: Opened, tmp_path: Path
) -> None:
    pieces, words = TEXTS[name]
    members = [("x.jpg", jpeg(1)), ("x.json", b'{"caption": "sound"}')]
    members += [(f"{at}.json", piece) for at, piece in enumerate(pieces)]
    write(tmp_path / "web" / "0.tar", members)
    said = cheap(opened(tmp_path / "web"))
    assert said["refused"] is None, said
    assert words in " ".join(said["notes"])
    assert "x" not in said["bad"]


def test_json_of_many_fields_is_refused(opened: Opened, tmp_path: Path) -> None:
    members = [(f"{at}.json", b'{"caption": "sound"}') for at in range(5_000)]
    write(tmp_path / "web" / "0.tar", [*members, ("x.json", json_of(30_000))])
    assert "30,001 fields" in cheap(opened(tmp_path / "web"))["refused"]


def varint(value: int) -> bytes:
    """As Parquet's metadata hold a number (Thrift's compact protocol)."""
    value, found = 2 * value, bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def promising(path: Path, rows: int) -> None:
    """A Parquet table of 12,345 rows that says that it has others."""
    keys = [f"{at:05d}" for at in range(12_345)]
    pq.write_table(pa.table({"key": keys, "caption": keys}), path)
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    body, footer = data[: -8 - size], data[-8 - size : -8]
    said = b"\x16" + varint(12_345) + b"\x19"
    assert said in footer
    footer = footer.replace(said, b"\x16" + varint(rows) + b"\x19", 1)
    path.write_bytes(body + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def repeating(path: Path, rows: int) -> None:
    """Rows of one value, which take next to no room in the file and all of it in memory."""
    values = pa.DictionaryArray.from_arrays(np.zeros(10_000_000, np.int8), pa.array(["a"]))
    table = pa.table({"key": values, "caption": values})
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(rows // len(table)):
            writer.write_table(table, row_group_size=len(table))


@pytest.mark.parametrize(
    ("make", "rows"), [(promising, 1_000_000_000), (repeating, 20_000_000)], ids=["said", "there"]
)
def test_a_parquet_table_that_promises_a_great_many_rows_is_refused(
    make: Callable[[Path, int], None], rows: int, opened: Opened, tmp_path: Path
) -> None:
    write(tmp_path / "web" / "0.tar", [("a.jpg", jpeg(1))])
    make(tmp_path / "web" / "0.parquet", rows)
    said = cheap(opened(tmp_path / "web"))
    assert f"its header promises {rows:,} rows" in said["refused"]


@pytest.mark.parametrize("lists", [False, True])
def test_a_parquet_table_that_repeats_a_long_text_is_refused(
    lists: bool, opened: Opened, tmp_path: Path
) -> None:
    """A text of 100 kB 50,000 times is stored once, and would take 5 GB of memory."""
    write(tmp_path / "web" / "0.tar", [("a.jpg", jpeg(1))])
    text = pa.DictionaryArray.from_arrays(np.zeros(50_000, np.int8), pa.array(["x" * 100_000]))
    told: Any = pa.ListArray.from_arrays(np.arange(50_001, dtype=np.int32), text) if lists else text
    keys = pa.array([f"{at:05d}" for at in range(50_000)])
    more = pa.StructArray.from_arrays([keys, text], ["a", "b"])
    table = pa.table({"key": keys, "more": more, "caption": told, "dot.ted": keys})
    pq.write_table(table, tmp_path / "web" / "0.parquet", store_schema=False)
    assert (tmp_path / "web" / "0.parquet").stat().st_size < 2_000_000
    said = cheap(opened(tmp_path / "web"))
    assert "its texts come to 5,000," in said["refused"]


def test_a_parquet_table_of_one_long_list_is_refused(opened: Opened, tmp_path: Path) -> None:
    write(tmp_path / "web" / "0.tar", [("a.jpg", jpeg(1))])
    values = pa.ListArray.from_arrays(pa.array([0, 20_000_000]), pa.nulls(20_000_000, pa.int8()))
    pq.write_table(pa.table({"key": ["a"], "tags": values}), tmp_path / "web" / "0.parquet")
    said = cheap(opened(tmp_path / "web"))
    assert "a column has 20,000,000 values" in said["refused"]


# what would run
class Canary:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_pickled_members_are_never_opened(opened: Opened, tmp_path: Path) -> None:
    data = pickle.dumps(Canary(tmp_path / "sang"))
    endings = ("pkl", "pickle", "pt", "pth", "pyd", "npy", "npz", "ckpt", "joblib", "jpg.pkl")
    members = [(f"a.{ending}", data) for ending in endings]
    pictures = [("b.jpg", data), ("c.png", data), ("a.jpg", jpeg(1))]
    texts = [("a.txt", data), ("a.json", data), ("a.cls", b"1")]
    write(tmp_path / "web" / "0.tar", [*members, *pictures, *texts])
    said = cheap(opened(tmp_path / "web"))
    assert said["refused"] is None and set(said["bad"]) == {"b", "c"}, said
    assert ".pkl" in " ".join(said["notes"]) and ".pt" in " ".join(said["notes"])
    assert not (tmp_path / "sang").exists()
    pickle.loads(data)  # the bird can sing
    assert (tmp_path / "sang").exists()
