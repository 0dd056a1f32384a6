"""What the header of a file of embeddings promises allocates nothing: widths and rows have limits,
and whatever its reader raises is one line.
"""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.errors import InputError
from headwater.labels.embeddings import MAX_WIDTH, check_embeddings, read_embeddings
from tests.test_digests import HEADERS, npy

IDS = ["a", "b"]


def table(path: Path, embedding: pa.Array, ids: list[str] = IDS) -> Path:
    pq.write_table(
        pa.table({"id": ids, "embedding": embedding}),
        path,
        compression="zstd",
        store_schema=True,
    )
    return path


def wide(path: Path, kind: str) -> Path:
    """Two embeddings of 4 million zeros in a few KB."""
    numbers = pa.array(np.zeros(8_000_000, dtype=np.float32))
    if kind == "fixed":
        return table(path, pa.FixedSizeListArray.from_arrays(numbers, 4_000_000))
    return table(path, pa.ListArray.from_arrays([0, 4_000_000, 8_000_000], numbers))


@pytest.mark.parametrize("kind", ["fixed", "lists"])
def test_a_small_file_of_very_wide_embeddings_is_refused_by_its_header(
    kind: str, tmp_path: Path
) -> None:
    path = wide(tmp_path / "e.parquet", kind)
    assert path.stat().st_size < 60_000
    pool = pa.default_memory_pool()
    pool.release_unused()
    before = pool.bytes_allocated()
    tracemalloc.start()
    try:
        for read in (check_embeddings, read_embeddings):
            with pytest.raises(InputError, match=r"embeddings of 4,000,000 numbers; more than"):
                read(path, IDS, "set")
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert pool.bytes_allocated() - before < 1_000_000


def test_a_file_of_more_ids_than_bytes_is_refused_by_its_header(tmp_path: Path) -> None:
    numbers = pa.array(np.zeros(400_000, dtype=np.float32))
    path = table(
        tmp_path / "e.parquet",
        pa.FixedSizeListArray.from_arrays(numbers, 1),
        ["same"] * 400_000,
    )
    assert path.stat().st_size < 400_000
    with pytest.raises(InputError, match=r"its header promises 400,000 rows"):
        read_embeddings(path, IDS, "set")


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_embeddings_as_wide_as_the_limit_are_read(kind: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((2, MAX_WIDTH), dtype=np.float32)
    if kind == "parquet":
        numbers = pa.array(values.ravel())
        path = table(tmp_path / "e.parquet", pa.FixedSizeListArray.from_arrays(numbers, MAX_WIDTH))
    else:
        path = tmp_path / "e.npy"
        np.save(path, values)
        path.with_suffix(".txt").write_text("a\nb\n")
    assert np.array_equal(read_embeddings(path, ["b", "a"], "set"), values[::-1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_of_an_array_of_embeddings_promises_in_vain(header: str, tmp_path: Path) -> None:
    path = tmp_path / "e.npy"
    path.write_bytes(npy(HEADERS[header], bytes(9)))
    path.with_suffix(".txt").write_text("a\nb\n")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"e\.npy") as caught:
            read_embeddings(path, IDS, "set")
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
