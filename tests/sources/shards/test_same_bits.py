"""The same images in a folder, in shards and in Parquet: the same arms, to the bit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater import api
from headwater.sources.folder import FolderSource
from headwater.sources.shards import open_shards
from headwater.sources.shards.packing import pack
from headwater.study import Study
from tests.sources.shards.tars import photos

N = 24
METHODS = ["simclr", "clip"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photos of two classes with captions: folder, shards, parquet."""
    root = tmp_path_factory.mktemp("three")
    folder = photos(root / "folder", N)
    source = FolderSource("web", folder)
    pack(source, root / "shards", per_shard=7)
    (root / "parquet").mkdir()
    for start in range(0, N, 9):
        some = range(start, min(start + 9, N))
        table = {
            "image": [source.image(at) for at in some],
            "name": [source.table.ids[at] for at in some],
            "split": [source.table.splits["split"][at] for at in some],
            "level1": [source.table.levels[0][at] for at in some],
            "captions": [source.table.texts["captions"][at] for at in some],
        }
        pq.write_table(pa.table(table), root / "parquet" / f"{start}.parquet", row_group_size=4)
    return root


def entries(root: Path) -> dict[str, dict[str, Any]]:
    return {
        "folder": {"kind": "folder", "path": str(root / "folder")},
        "shards": {"kind": "shards", "path": str(root / "shards")},
        "parquet": {"kind": "parquet", "path": str(root / "parquet"), "ids": "name"},
    }


def test_packed_shards_hold_the_samples_of_the_folder(root: Path) -> None:
    folder, shards = FolderSource("web", root / "folder"), open_shards("web", str(root / "shards"))
    one, other, every = folder.table, shards.table, np.arange(N)
    assert other.ids.tolist() == one.ids.tolist()
    assert other.splits["split"].tolist() == one.splits["split"].tolist()
    assert other.levels[0].tolist() == one.levels[0].tolist()
    assert other.texts["captions"].tolist() == one.texts["captions"].tolist()
    assert shards.fingerprint(every) == folder.fingerprint(every)
    assert shards.hashes.tolist() == folder.hashes.tolist()
    assert [shards.image(at) for at in range(N)] == [folder.image(at) for at in range(N)]
    again = pack(folder, root / "again", per_shard=7)
    for path in sorted((root / "shards").glob("*.tar")):
        assert path.read_bytes() == (root / "again" / path.name).read_bytes()
    assert (again.shards, again.samples, again.left_out) == (4, N, 0)


@pytest.mark.slow
def test_arms_from_a_folder_shards_and_parquet_are_equal_to_the_bit(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where pixels are decoded for every batch, by several threads."""
    found = {}
    for name, words in entries(root).items():
        for streamed in (False, True) if name == "shards" else (False,):
            monkeypatch.setenv("HEADWATER_CACHE_GB", "0" if streamed else "1")
            monkeypatch.setenv("HEADWATER_LOADER_WORKERS", "2" if streamed else "0")
            study = {
                "study": "same",
                "data": {"web": words},
                "sources": ["web"],
                "methods": METHODS,
                "seeds": 1,
                "image_size": 32,
                "budget": {"steps": 3},
                "recipe": {"batch": 8, "text_width": 32, "text_layers": 1, "text_heads": 2},
                "tasks": {"own": {"data": "web"}},
                "protocols": {"probe": {}},
            }
            store = tmp_path / f"{name}-{streamed}"
            rows = api.run(Study.model_validate(study), store=store, engine="inline", device="cpu")
            weights = {
                path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in store.glob("arms/*/encoder.safetensors")
            }
            columns = (rows[name] for name in ("arm", "cell", "metric", "value"))
            scores = sorted(zip(*columns, strict=True))
            found[name, streamed] = weights, scores
    first = found["folder", False]
    assert len(first[0]) == len(METHODS) and all(each == first for each in found.values())
