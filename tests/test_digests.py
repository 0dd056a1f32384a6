"""Digests: any flipped bit is found, whatever a reader raises is damage, and what a header promises
allocates nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater import digests
from headwater.digests import Damaged
from headwater.errors import InputError
from headwater.rows import read_rows

RECORD = {"id": "a", "value": 0.1, "texts": ["é", "\ud800"], "nested": {"b": None, "a": -0.0}}


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# records
def test_any_flipped_bit_of_a_record_is_found_or_leaves_what_it_says() -> None:
    whole = json.dumps(digests.sealed(RECORD)).encode()
    same = 0
    for bit in range(8 * len(whole)):
        try:
            found = digests.opened(flipped(whole, bit))
        except Damaged:
            continue
        assert found == RECORD
        same += 1
    assert same < 0.05 * 8 * len(whole)


def test_a_record_says_the_same_however_it_is_spaced_and_ordered() -> None:
    turned = dict(reversed(digests.sealed(RECORD).items()))
    assert digests.opened(json.dumps(turned, indent=3)) == RECORD


def test_a_record_of_before_there_were_digests_is_read_as_it_is() -> None:
    assert digests.opened(json.dumps(RECORD)) == RECORD


@pytest.mark.parametrize("missing", ["form", "record_sha256"])
def test_a_record_that_has_lost_a_half_of_its_seal_is_damaged(missing: str) -> None:
    record = digests.sealed(RECORD)
    del record[missing]
    with pytest.raises(Damaged):
        digests.opened(json.dumps(record))


def test_a_record_of_another_form_is_not_read() -> None:
    later = {"a": 1, "form": 99}
    later["record_sha256"] = digests.record_digest(later)
    with pytest.raises(Damaged, match="another version"):
        digests.opened(json.dumps(later))


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "3", "null", "\xff", "[" * 100_000, '{"a": 1e999']
)
def test_whatever_is_no_record_is_damaged(text: str) -> None:
    with pytest.raises(Damaged):
        digests.opened(text.encode("latin-1"))


# arrays
def written(path: Path, array: np.ndarray) -> bytes:
    with path.open("wb") as file:
        digests.write_array(file, array)
    return path.read_bytes()


@pytest.mark.parametrize("shape", [(0,), (1,), (40,), (3, 5), (0, 4)])
def test_arrays_come_back_mapped_or_not_and_numpy_reads_them(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    array = np.random.default_rng(0).integers(0, 255, shape).astype(np.int64)
    written(tmp_path / "a.npy", array)
    for mapped in (False, True):
        found = digests.read_array(tmp_path / "a.npy", np.int64, len(shape), mapped=mapped)
        np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)


@pytest.mark.filterwarnings("ignore")
def test_any_flipped_bit_of_an_array_is_found_and_any_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    array = np.arange(9, dtype=np.uint8)
    whole = written(path, array)
    for bit in range(0, 8 * len(whole), 3):
        path.write_bytes(flipped(whole, bit))
        with pytest.raises(Damaged):
            digests.read_array(path, np.uint8, 1)
    plain = len(whole) - len(b"\nsha256:\n") - 64
    for end in (*range(0, plain, 5), *range(plain - 2, len(whole))):
        path.write_bytes(whole[:end])
        if end == plain:  # as it was written before there were digests
            np.testing.assert_array_equal(digests.read_array(path, np.uint8, 1), array)
        else:
            with pytest.raises(Damaged):
                digests.read_array(path, np.uint8, 1)


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode("latin-1").ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


HEADERS = {
    "terabytes": "{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }",
    "more than a machine can count": "{'descr': '|u1', 'fortran_order': False, 'shape': (1"
    + 40 * "0"
    + ",), }",
    "negative": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }",
    "texts as lengths": "{'descr': '|u1', 'fortran_order': False, 'shape': ('a',), }",
    "an open bracket (TokenError)": "{'descr': '|u1', 'fortran_order': False, 'shape': (9L,",
    "no dict": "[]",
    "another key": "{'descr': '|u1', 'fortran_order': False, 'shape': (9,), 'x': 1}",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (9,), }",
    "a type of no name": "{'descr': '<z9', 'fortran_order': False, 'shape': (9,), }",
    "a wide type": "{'descr': '|V2147483647', 'fortran_order': False, 'shape': (9,), }",
    "another order of bytes": "{'descr': '>i8', 'fortran_order': False, 'shape': (1,), }",
    "brackets in brackets": "(" * 100,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_of_an_array_promises_in_vain_and_allocates_nothing(
    header: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(npy(HEADERS[header], bytes(9)))
    tracemalloc.start()
    try:
        for mapped in (False, True):
            with pytest.raises(Damaged):
                digests.read_array(path, np.uint8, 1, mapped=mapped)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"", b"PK\x03\x04", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", b"{}"])
def test_what_is_no_array_of_ours_is_damaged(kind: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(kind)
    with pytest.raises(Damaged):
        digests.read_array(tmp_path / "a.npy", np.uint8, 1)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Damaged):
        digests.read_array(tmp_path / "a.npy", object, 1)


# framed bytes
def test_any_flipped_bit_of_framed_bytes_is_found_or_makes_them_another_kind() -> None:
    whole = digests.framed("hashes 2", b"some bytes\nof two lines")
    assert digests.unframed("hashes 2", whole) == b"some bytes\nof two lines"
    for bit in range(8 * len(whole)):
        with contextlib.suppress(Damaged):
            assert digests.unframed("hashes 2", flipped(whole, bit)) is None
    assert digests.unframed("hashes 3", whole) is None
    assert digests.unframed("hashes 2", b"PAR1 as it was before") is None


# readers
@pytest.mark.parametrize(
    "error",
    [KeyError("x"), RecursionError(), OverflowError(), struct.error("x"), SyntaxError(),
     UnicodeDecodeError("utf-8", b"", 0, 1, "x"), MemoryError(), ZeroDivisionError(), EOFError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_a_reader_raises_is_damage_in_one_line(error: Exception) -> None:
    def read() -> None:
        raise error

    with pytest.raises(Damaged) as caught:
        digests.reading(read)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_not_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digests.read_record(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError):
        digests.read_array(tmp_path / "none.npy", np.uint8, 1)


# parquet
def parquet(path: Path, table: pa.Table, **options: Any) -> None:
    pq.write_table(table, path, **options)


BOMBS: dict[str, Callable[[Path], None]] = {
    "equal numbers": lambda path: parquet(
        path, pa.table({"value": pa.array(np.zeros(4_000_000))}), compression="zstd"
    ),
    "one long text": lambda path: parquet(
        path,
        pa.table({"value": ["x" * 70_000_000]}),
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_table_that_unpacks_to_a_large_one_is_refused_by_its_header(
    bomb: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    BOMBS[bomb](path)
    assert path.stat().st_size < 60_000
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    with pytest.raises(InputError, match=r"rows\.parquet.*\(its header promises"):
        read_rows(path)
    assert pa.total_allocated_bytes() - before < 1_000_000
    assert pool.bytes_allocated() < 50_000_000


def test_what_a_table_of_equal_rows_takes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    parquet(path, pa.table({"a": np.zeros(90_000), "b": ["text"] * 90_000}))
    digests.check_parquet(path, 0.25)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": np.random.default_rng(0).random(200_000)}), buffer)
    path.write_bytes(buffer.getvalue())
    digests.check_parquet(path, 0.25)
