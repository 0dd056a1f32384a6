"""A study whose shards lie on a web server or in an object store is the one of the disk: equal
arms, weights and rows, also where requests go wrong, and no byte is asked for twice without need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwater import api, objects
from headwater.rows import comparable
from headwater.sources.folder import FolderSource
from headwater.sources.looking import judges
from headwater.sources.pixels import decoding
from headwater.sources.shards import remote
from headwater.sources.shards.packing import pack
from headwater.study import Study
from tests.sources.shards.servers import Served, before, s3, web
from tests.sources.shards.tars import photos


@dataclass(frozen=True)
class Done:
    """What a study made."""

    weights: dict[str, str]
    """SHA-256 of encoder.safetensors, by arm."""
    rows: pd.DataFrame
    decoded: int
    """Bytes of the images that were decoded, each as often as it was."""


@dataclass
class Runs:
    """Runs one study from wherever its shards lie."""

    root: Path
    """The shards, on disk."""
    stores: Path
    methods: tuple[str, ...]
    monkeypatch: pytest.MonkeyPatch
    decoded: int = 0

    def __post_init__(self) -> None:
        for room, name in ((decoding, "decode"), (judges, "judge_bytes")):
            self.monkeypatch.setattr(room, name, self._counting(getattr(room, name)))
        self.monkeypatch.setattr(objects, "STALLED_S", 1.0)  # a busy machine is no stall
        self.monkeypatch.setattr(objects, "FIRST_WAIT_S", 0.01)
        self.monkeypatch.setattr(remote, "_CHUNK", 16_384)

    def _counting(self, decode: Callable[..., Any]) -> Callable[..., Any]:
        def counted(data: bytes, *words: Any) -> Any:
            self.decoded += len(data)
            return decode(data, *words)

        return counted

    @property
    def size(self) -> int:
        """Bytes of all shards, and of the record of them."""
        return sum(path.stat().st_size for path in self.root.iterdir())

    def run(self, path: str, *, room: bool) -> Done:
        """A run from `path` in a store of its own; without `room` neither pixels nor shards are
        kept.
        """
        self.monkeypatch.setenv("HEADWATER_CACHE_GB", "1" if room else "0")
        self.monkeypatch.setenv("HEADWATER_LOADER_WORKERS", "0")
        study = {
            "study": "far",
            "data": {"web": {"kind": "shards", "path": path}},
            "sources": ["web"],
            "methods": list(self.methods),
            "seeds": 1,
            "image_size": 32,
            "budget": {"steps": 3},
            "recipe": {"batch": 16, "text_width": 32, "text_layers": 1, "text_heads": 2},
            "tasks": {"own": {"data": "web"}},
            "protocols": {"probe": {}},
        }
        store = self.stores / f"{len(list(self.stores.iterdir()))}"
        self.decoded = 0
        rows = api.run(Study.model_validate(study), store=store, engine="inline", device="cpu")
        arms = store.glob("arms/*/encoder.safetensors")
        weights = {p.parent.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in arms}
        assert len(weights) == len(self.methods) and set(rows["status"]) == {"done"}
        return Done(weights, comparable(rows), self.decoded)

    def held(self, served: Served, path: str, here: Done, *, room: bool, wrong: float = 0) -> str:
        """Runs from a server, and holds what came to what the disk gave; a line of figures."""
        served.sent, served.requests, served.wrong, served.stall_s = 0, 0, wrong, 2.5
        served.faults.clear()
        done = self.run(path, room=room)
        served.wrong = 0
        needed = self.size + (0 if room else done.decoded)
        told = (
            f"{path.partition(':')[0]}, {'kept' if room else 'not kept'}, {wrong:.0%} wrong: "
            f"{served.sent:,} bytes sent, {needed:,} needed ({served.sent / needed:.4f}); "
            f"{served.requests} requests, {sum(served.faults.values())} went wrong"
        )
        print(told)
        assert done.weights == here.weights, told
        pd.testing.assert_frame_equal(done.rows, here.rows)
        assert served.sent <= 1.05 * needed, told
        assert served.sent >= needed, told
        assert bool(wrong) == bool(served.faults), told
        return told


def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, *methods: str) -> Runs:
    folder = photos(tmp_path / "folder", count, 40)
    pack(FolderSource("web", folder), tmp_path / "shards", per_shard=count // 4)
    (tmp_path / "stores").mkdir()
    return Runs(tmp_path / "shards", tmp_path / "stores", methods, monkeypatch)


@pytest.mark.slow
def test_a_study_of_a_web_server_that_goes_wrong_is_that_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is kept: each image is asked for whenever it is decoded."""
    here = runs(tmp_path, monkeypatch, 24, "simclr")
    disk = here.run(str(here.root), room=True)
    with web(here.root) as served:
        here.held(served, f"{served.url}/", disk, room=False, wrong=0.05)


@pytest.mark.slow
def test_simclr_and_clip_from_servers_are_those_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = runs(tmp_path, monkeypatch, 240, "simclr", "clip")
    disk = here.run(str(here.root), room=True)
    with web(here.root) as served:
        for room in (True, False):
            for wrong in (0.0, 0.05):
                here.held(served, f"{served.url}/", disk, room=room, wrong=wrong)
    with s3(here.root) as (url, words), before(url) as served:
        for word, value in {**words, "AWS_ENDPOINT_URL": served.url}.items():
            monkeypatch.setenv(word, value)
        for room in (True, False):
            for wrong in (0.0, 0.05):
                here.held(served, "s3://corpora/web/", disk, room=room, wrong=wrong)
