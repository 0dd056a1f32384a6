"""Arrow files of images, as the `datasets` library writes them, and what may be wrong with them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.digests import Damaged
from headwater.errors import InputError
from headwater.sources import row_files
from headwater.sources.parquet import ParquetSource
from headwater.sources.row_files import ArrowFile, listed_below
from tests.sources.test_parquet import CLASS_NAMES, FEATURES, encoded


def rows(count: int, first: int = 0, **columns: Any) -> pa.Table:
    images = [{"bytes": encoded(first + row), "path": f"{row}.png"} for row in range(count)]
    labels = [row % 2 for row in range(count)]
    texts = [f"photo {first + row}" for row in range(count)]
    table = pa.table({"image": images, "label": labels, "caption": texts, **columns})
    return table.replace_schema_metadata({b"huggingface": json.dumps(FEATURES).encode()})


def write(path: Path, table: pa.Table, *, batch: int = 4, file: bool = False, **more: Any) -> None:
    """As a stream, which `datasets` writes, or in the file format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = pa.ipc.new_file if file else pa.ipc.new_stream
    with writer(str(path), table.schema, options=pa.ipc.IpcWriteOptions(**more)) as to:
        to.write_table(table, max_chunksize=batch)


def opened(root: Path, **more: Any) -> ParquetSource:
    return ParquetSource("set", root, files=listed_below(root, ".arrow"), **more)


@pytest.mark.parametrize("file", [False, True], ids=["stream", "file"])
def test_arrow_holds_what_parquet_holds(file: bool, tmp_path: Path) -> None:
    for name, first in (("train-00000", 0), ("train-00001", 10), ("test-00000", 20)):
        table = rows(10, first)
        write(tmp_path / "arrow" / f"{name}.arrow", table, file=file)
        (tmp_path / "parquet").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "parquet" / f"{name}.parquet", row_group_size=3)
    one, other = opened(tmp_path / "arrow"), ParquetSource("set", tmp_path / "parquet")
    every = np.arange(30)
    assert one.table.ids.tolist() == other.table.ids.tolist()
    assert one.table.splits["split"].tolist() == other.table.splits["split"].tolist()
    assert one.table.levels[0].tolist() == other.table.levels[0].tolist()
    assert set(one.table.levels[0]) == set(CLASS_NAMES)
    assert one.table.texts["caption"].tolist() == other.table.texts["caption"].tolist()
    assert [one.image(at) for at in every] == [other.image(at) for at in every]
    assert one.fingerprint(every) == other.fingerprint(every)


def test_a_batch_alone_is_read_for_one_of_its_images(tmp_path: Path) -> None:
    write(tmp_path / "train.arrow", rows(10), batch=3)
    file = ArrowFile(tmp_path / "train.arrow")
    assert file.groups() == [3, 3, 3, 1]
    assert [image.as_py()["bytes"] for image in file.images(2, "image")] == [
        encoded(row) for row in (6, 7, 8)
    ]
    before = pa.total_allocated_bytes()
    images = file.images(1, "image")
    assert pa.total_allocated_bytes() == before, "the file is mapped, not copied"
    assert len(images) == 3


def test_categories_beside_images_are_read(tmp_path: Path) -> None:
    kinds = pa.array(["x", "y", "x", "y", "z"]).dictionary_encode()
    write(tmp_path / "train.arrow", rows(5, kind=kinds), batch=2, file=True)
    source = opened(tmp_path)
    assert source.table.texts["kind"].tolist() == [["x"], ["y"], ["x"], ["y"], ["z"]]
    assert [source.image(at) for at in range(5)] == [encoded(at) for at in range(5)]


def test_a_set_without_labels_and_texts_is_read(tmp_path: Path) -> None:
    write(tmp_path / "train.arrow", rows(5).select(["image"]))
    source = opened(tmp_path)
    assert len(source.table) == 5 and not source.table.levels and not source.table.texts


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_batches_are_refused_before_they_are_unpacked(
    compression: str, tmp_path: Path
) -> None:
    zeros = pa.table({"image": pa.array([bytes(1 << 20)] * 64)})
    write(tmp_path / "train.arrow", zeros, compression=compression)
    before = pa.total_allocated_bytes()
    with pytest.raises(InputError, match=r"record batch 0 is compressed, .* as Parquet"):
        opened(tmp_path)
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_a_batch_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "train.arrow", rows(100), batch=100)
    monkeypatch.setattr(row_files, "_MOST_GROUP_BYTES", 10_000)
    with pytest.raises(InputError, match=r"record batch 0 holds [\d,]+ bytes; .* 1,000 rows"):
        opened(tmp_path)


def test_a_small_file_that_promises_a_great_many_rows_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.arrow", pa.table({"x": pa.nulls(2_000_000_000)}), batch=2_000_000_000)
    assert (tmp_path / "a.arrow").stat().st_size < 1_000
    with pytest.raises(Damaged, match="promises 2,000,000,000 rows, and the file has"):
        ArrowFile(tmp_path / "a.arrow").groups()


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """Also between two batches, where it could pass for a shorter one."""
    path = tmp_path / "train.arrow"
    write(path, rows(10), batch=3)
    data = path.read_bytes()
    file = ArrowFile(path)
    file.groups()
    for size in (0, 5, 100, *file._offsets, len(data) - 8, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"train\.arrow: "):
            opened(tmp_path)


@pytest.mark.parametrize("file", [False, True], ids=["stream", "file"])
def test_a_damaged_file_is_an_input_error_or_read_whole(file: bool, tmp_path: Path) -> None:
    path = tmp_path / "train.arrow"
    kinds = pa.array(list("aabbc")).dictionary_encode()
    write(path, rows(5, kind=kinds), batch=2, file=file)
    data, draw, refused = path.read_bytes(), random.Random(7), 0
    for turn in range(400):
        broken = bytearray(data)
        for _ in range(draw.choice((1, 1, 4))):
            within = len(broken) if turn % 2 else 1200
            broken[draw.randrange(within)] = draw.choice((0, 127, 255, draw.randrange(256)))
        path.write_bytes(broken)
        try:
            source = opened(tmp_path)
            source.byte_hashes(np.arange(len(source.table)))
        except InputError as error:
            assert "train" in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 100


def test_a_file_that_changes_after_it_was_opened_is_told(tmp_path: Path) -> None:
    write(tmp_path / "train.arrow", rows(9), batch=3)
    source = opened(tmp_path)
    write(tmp_path / "train.arrow", rows(9), batch=2)
    with pytest.raises(InputError, match=r"train\.arrow: "):
        source.byte_hashes(np.arange(9))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array([encoded(0)]), pa.array([encoded(1)])], names=["image", "image"])
    write(tmp_path / "train.arrow", table)
    with pytest.raises(InputError, match="two columns have one name: image, image"):
        opened(tmp_path)


def test_files_in_the_cache_of_the_hub_are_links_that_are_followed(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "datasets--a" / "blobs", tmp_path / "datasets--a" / "snapshots/12"
    for folder in (blobs, snapshot):
        folder.mkdir(parents=True)
    pq.write_table(rows(10), blobs / "f00d")
    (snapshot / "train.parquet").symlink_to("../../blobs/f00d")
    assert len(ParquetSource("set", snapshot).table) == 10
    (tmp_path / "other.parquet").write_bytes((blobs / "f00d").read_bytes())
    (snapshot / "val.parquet").symlink_to(tmp_path / "other.parquet")
    with pytest.raises(InputError, match="is a link that leads out of"):
        ParquetSource("set", snapshot)
