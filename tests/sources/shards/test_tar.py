"""Members of tars: where they lie, and which are refused."""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headwater.errors import InputError
from headwater.sources.shards import tar as room
from headwater.sources.shards.tar import members
from tests.sources.shards.tars import add, jpeg, samples, write

FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def by_tarfile(path: Path) -> list[tuple[bytes, int, int]]:
    with tarfile.open(path) as tar:
        return [(m.name.encode(), m.offset_data, m.size) for m in tar if m.isfile()]


def found(path: Path) -> list[tuple[bytes, int, int]]:
    read = members(path.read_bytes(), str(path))
    places = zip(read.names.tolist(), read.offsets.tolist(), read.sizes.tolist(), strict=True)
    return list(places)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mtime", [1, 1.5])
def test_members_lie_where_tarfile_says(form: int, mtime: float, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [("folder/x.txt", b""), *samples(0, 700)], form, mtime)
    assert found(path) == by_tarfile(path)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    "name", ["a" * 150 + ".jpg", "b/" * 60 + "c.jpg", "häuser/é.jpg", "日本/写真.jpg"]
)
def test_long_names_and_other_letters_are_read(form: int, name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [(name, jpeg(1)), ("z.jpg", jpeg(2))], form)
    assert found(path) == by_tarfile(path)


def test_a_tar_within_a_tar_is_one_member(tmp_path: Path) -> None:
    inner = write(tmp_path / "inner.tar", samples(0, 3)).read_bytes()
    path = write(tmp_path / "a.tar", [("a.jpg", jpeg(1)), ("b.bin", inner), ("c.jpg", jpeg(2))])
    assert found(path) == by_tarfile(path) and len(found(path)) == 3


def test_folders_are_passed_over_and_an_empty_tar_holds_nothing(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "cats", b"", type=tarfile.DIRTYPE)
        add(tar, "cats/1.jpg", jpeg(1))
    assert [name for name, _, _ in found(tmp_path / "a.tar")] == [b"cats/1.jpg"]
    with tarfile.open(tmp_path / "b.tar", "w"):
        pass
    assert found(tmp_path / "b.tar") == []


def test_a_size_in_base_256_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [("a.jpg", jpeg(1)), ("b.jpg", jpeg(2))], mtime=1)
    data = bytearray(path.read_bytes())
    size = int(data[124:135], 8)
    data[124:136] = b"\x80" + size.to_bytes(11, "big")
    data[148:156] = b"%06o\0 " % (sum(data[:512]) - sum(data[148:156]) + 8 * 32)
    path.write_bytes(data)
    assert found(path) == by_tarfile(path) and found(path)[0][2] == len(jpeg(1))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"M", "a part of a file"),
        (b"Q", "of a kind that is unknown"),
    ],
)
def test_what_is_no_plain_file_is_refused(kind: bytes, words: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "a.jpg", jpeg(1))
        add(tar, "b.jpg", b"", type=kind, linkname="/etc/passwd")
    with pytest.raises(InputError, match=f"'b.jpg' is {words}"):
        found(tmp_path / "a.tar")


@pytest.mark.parametrize("major", ["0.0", "1.0"])
def test_sparse_files_by_pax_are_refused(major: str, tmp_path: Path) -> None:
    """Their size in the tar is not the one that a reader would have to make of them."""
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        words = {"GNU.sparse.major": major[0], "GNU.sparse.size": str(1 << 50)}
        add(tar, "b.jpg", jpeg(1), pax_headers=words)
    with pytest.raises(InputError, match=r"'b\.jpg' is a sparse file"):
        found(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../../etc/cron.d/x.jpg", "leaves the tar by '..'"),
        ("a/../b.jpg", "leaves the tar by '..'"),
        ("/etc/x.jpg", "is absolute"),
        ("C:/x.jpg", "is absolute"),
        ("a\\b.jpg", "has a backslash"),
        ("a\x1b[31m.jpg", "holds an escape"),
        ("a\nb.jpg", "holds a line break"),
    ],
)
def test_names_that_lead_out_are_refused(name: str, words: str, tmp_path: Path) -> None:
    for form in FORMS:
        path = write(tmp_path / "a.tar", [("a.jpg", jpeg(1)), (name, jpeg(2))], form, 1)
        with pytest.raises(InputError, match="name"):
            found(path)
        try:
            found(path)
        except InputError as error:
            assert words in str(error) and "\x1b" not in str(error)


def test_two_dots_within_a_name_lead_nowhere(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [("a..b.jpg", jpeg(1)), ("...c/d.jpg", jpeg(2))])
    assert found(path) == by_tarfile(path)


@pytest.mark.parametrize("where", [0.2, 0.5, 0.99])
def test_a_tar_that_ends_too_soon_is_refused(where: float, tmp_path: Path) -> None:
    data = write(tmp_path / "a.tar", samples(0, 20)).read_bytes().rstrip(b"\0")
    with pytest.raises(InputError, match=r"ends too soon|get the file again"):
        members(data[: int(len(data) * where) // 512 * 512 + 512], "a.tar")


@pytest.mark.parametrize("at", [0, 100, 124, 148, 156, 257, 300, 1024 + 130])
def test_a_flipped_bit_of_a_header_is_found(at: int, tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "a.tar", samples(0, 5)).read_bytes())
    data[at] ^= 4
    with pytest.raises(InputError):
        members(bytes(data), "a.tar")


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_packed_tars_are_refused_with_advice(mode: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as tar:
        add(tar, "a.jpg", jpeg(1))
    with pytest.raises(InputError, match="unpack it to a plain"):
        members(buffer.getvalue(), "a.tar")


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    for data in (b"x", b"x" * 5000, b"\0" * 100, np.random.default_rng(0).bytes(4096)):
        with pytest.raises(InputError, match="no tar"):
            members(data, "a.tar")


def test_a_header_that_promises_much_is_refused_at_once(tmp_path: Path) -> None:
    """A pax header of a terabyte, and one that says so of the member behind it."""
    began = time.perf_counter()
    for name, said in (("x", {"size": str(1 << 40)}), ("y" * 200, {})):
        with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            add(tar, name, jpeg(1), pax_headers=said)
        data = bytearray((tmp_path / "a.tar").read_bytes())
        if not said:
            data[124:136] = b"%011o\0" % (1 << 32)
            data[148:156] = b"%06o\0 " % (sum(data[:512]) - sum(data[148:156]) + 8 * 32)
        with pytest.raises(InputError, match="ends too soon"):
            members(bytes(data), "a.tar")
    assert time.perf_counter() - began < 1


def test_both_ways_to_read_headers_find_the_same(tmp_path: Path) -> None:
    for form in FORMS:
        data = write(tmp_path / "a.tar", samples(0, 900), form).read_bytes()
        view = np.frombuffer(data, dtype=np.uint8)
        quick, slow = room._at_once(view, "a.tar"), room._one_by_one(view, "a.tar")
        assert quick is not None
        assert quick.names.tolist() == slow.names.tolist()
        assert quick.offsets.tolist() == slow.offsets.tolist()
        assert quick.sizes.tolist() == slow.sizes.tolist()


def test_what_stands_behind_the_end_is_told(tmp_path: Path) -> None:
    """Two tars that were joined, or garbage: others read the first one alone, in silence."""
    whole = write(tmp_path / "a.tar", samples(0, 5)).read_bytes()
    for more in (whole, b"x" * 700):
        with pytest.raises(InputError, match="goes on behind its end"):
            members(whole + more, "a.tar")
    assert len(members(whole + bytes(9 * 512), "a.tar")) == 15
