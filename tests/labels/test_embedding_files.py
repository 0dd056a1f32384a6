"""Files of embeddings: read in the order that is asked for, and refused in one line where they are
not what they should be.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.errors import InputError
from headwater.labels.embeddings import read_embeddings

IDS = [f"räume/{at:03d}.png" for at in range(40)]
TABLE = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


def parquet(path, ids, embeddings, kind=None, **options):
    column = pa.array(list(embeddings), type=kind or pa.list_(pa.float32()))
    pq.write_table(
        pa.table({"extra": list(range(len(ids))), "id": ids, "embedding": column}), path, **options
    )
    return path


def npy(path, ids, embeddings):
    np.save(path, embeddings)
    path.with_suffix(".txt").write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
    return path


KINDS = [
    pa.list_(pa.float32()),
    pa.large_list(pa.float64()),
    pa.list_(pa.float32(), 6),
    pa.list_(pa.float16()),
]


@pytest.mark.parametrize("kind", [*KINDS, None], ids=str)
def test_rows_come_in_the_order_asked_for_whatever_the_files(tmp_path, kind):
    order = np.random.default_rng(1).permutation(40)
    mixed = [IDS[at] for at in order]
    if kind is None:
        path = npy(tmp_path / "e.npy", mixed, TABLE[order])
    else:
        rows = TABLE[order].astype(np.float16) if kind.value_type == pa.float16() else TABLE[order]
        path = parquet(tmp_path / "e.parquet", mixed, rows, kind, row_group_size=7)
    wanted = [31, 2, 2, 17, 39, 0]
    found = read_embeddings(path, [IDS[at] for at in wanted], "set")
    assert found.dtype == np.float32
    assert np.allclose(
        found,
        TABLE[wanted],
        rtol=1e-3 if kind == pa.list_(pa.float16()) else 0,
        atol=1e-3 if kind == pa.list_(pa.float16()) else 0,
    )


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_files_of_many_chunks_are_put_together(tmp_path, kind):
    ids = [str(at) for at in range(40_000)]
    table = np.arange(80_000, dtype=np.float32).reshape(-1, 2)
    path = (parquet if kind == "parquet" else npy)(tmp_path / f"e.{kind}", ids, table)
    wanted = np.random.default_rng(0).permutation(40_000)[:35_000]
    assert np.array_equal(read_embeddings(path, [ids[at] for at in wanted], "set"), table[wanted])


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    path = npy(tmp_path / "e.npy", IDS, TABLE)
    path.with_suffix(".txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(IDS).encode())
    assert np.array_equal(read_embeddings(path, IDS, "set"), TABLE)


def make(folder, what):
    """A file of embeddings that is wrong in one way."""
    ragged = [*TABLE[:-1].tolist(), [1.0]]
    if what == "unknown ending":
        return folder / "e.csv"
    if what == "missing parquet":
        return folder / "e.parquet"
    if what == "missing npy":
        return folder / "e.npy"
    if what == "folder":
        (folder / "e.parquet").mkdir()
        return folder / "e.parquet"
    if what == "damaged parquet":
        path = parquet(folder / "e.parquet", IDS, TABLE)
        path.write_bytes(path.read_bytes()[:200])
        return path
    if what == "no sidecar":
        np.save(folder / "e.npy", TABLE)
        return folder / "e.npy"
    if what.startswith("npy "):
        path = npy(folder / "e.npy", IDS[:-1] if what == "npy short sidecar" else IDS, TABLE)
        if what == "npy pickled":
            np.save(path, np.array([[{}]] * 40, dtype=object), allow_pickle=True)
        if what == "npy ints":
            np.save(path, np.ones((40, 3), dtype=np.int64))
        if what == "npy flat":
            np.save(path, np.ones(40))
        if what == "npy cut":
            path.write_bytes(path.read_bytes()[:-100])
        if what == "npy noise":
            path.write_bytes(b"noise" * 99)
        if what == "npy bad header":
            path.write_bytes(path.read_bytes()[:10] + b"(" * 118)
        if what == "npy latin":
            path.with_suffix(".txt").write_bytes(b"\xe4\n" * 40)
        return path
    columns = {
        "missing ids": (IDS[:-3], TABLE[:-3], None),
        "duplicates": ([*IDS[:-1], IDS[0]], TABLE, None),
        "null id": ([*IDS[:-1], None], TABLE, None),
        "ragged": (IDS, ragged, None),
        "null row": (IDS, [*TABLE[:-1], None], None),
        "null number": (IDS, [*TABLE[:-1].tolist(), [None] * 6], None),
        "empty": (IDS, [[]] * 40, None),
        "texts": (IDS, [["a"]] * 40, pa.list_(pa.string())),
        "no list": (IDS, [1.0] * 40, pa.float32()),
        "int ids": (list(range(40)), TABLE, None),
    }
    return parquet(folder / "e.parquet", *columns[what])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("unknown ending", "embeddings are read from .parquet or .npy"),
        ("missing parquet", "e.parquet cannot be read: there is no such file"),
        ("missing npy", "e.npy cannot be read: there is no such file"),
        ("folder", "e.parquet cannot be read"),
        ("damaged parquet", "e.parquet cannot be read"),
        ("no sidecar", "there is no e.txt beside it"),
        ("npy short sidecar", "e.txt has 39 lines, and e.npy has 40 rows"),
        ("npy pickled", "e.npy cannot be read"),
        ("npy ints", "this is int64 [40, 3]"),
        ("npy flat", "this is float64 [40]"),
        ("npy cut", "e.npy cannot be read"),
        ("npy noise", "e.npy cannot be read"),
        ("npy bad header", "e.npy cannot be read"),
        ("npy latin", "e.npy cannot be read: 'utf-8' codec"),
        ("missing ids", "3 of 40 images have no embedding, the first is 'räume/037.png'"),
        ("duplicates", "1 rows repeat an id, the first is 'räume/000.png'"),
        ("null id", "1 rows have no id"),
        ("ragged", "embeddings of 1 and of 6 numbers"),
        ("null row", "1 rows or more have no embedding"),
        ("null number", "6 numbers or more are missing"),
        ("empty", "at least 1"),
        ("texts", "embedding (list<element: string>)"),
        ("no list", "embedding (float)"),
        ("int ids", "id (int64)"),
    ],
)
def test_wrong_files_are_refused_in_one_line(tmp_path, what, message):
    with pytest.raises(InputError) as error:
        read_embeddings(make(tmp_path, what), IDS, "set")
    assert message in str(error.value)
    assert str(error.value).startswith("set: ")
    assert "\n" not in str(error.value)
