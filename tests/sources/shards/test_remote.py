"""Shards on a web server and in an object store: what a study reads there is what lies here."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater import objects
from headwater.errors import InputError
from headwater.sources import shards as shards_room
from headwater.sources.shards import ShardSource, open_shards, remote
from tests.sources.shards.servers import Served, s3, web
from tests.sources.shards.tars import corpus, jpeg, samples, write

N = 40
EVERY = np.arange(N)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four shards of ten samples, one of them with a Parquet table."""
    found = corpus(tmp_path / "web", 4, 10)
    names = [f"{n:09d}" for n in range(20, 30)]
    table = pa.table({"key": names, "caption": [f"told {name}" for name in names]})
    pq.write_table(table, found / "00002.parquet")
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "STALLED_S", 0.3)
    monkeypatch.setattr(objects, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(remote, "_CHUNK", 4096)


@pytest.fixture
def served(root: Path) -> Iterator[Served]:
    with web(root) as found:
        yield found


def far(served: Served, cache: Path, **words: Any) -> ShardSource:
    return open_shards("web", f"{served.url}/{{00000..00003}}.tar", cache=cache, **words)


def same(one: ShardSource, other: ShardSource) -> None:
    assert one.table.ids.tolist() == other.table.ids.tolist()
    assert one.fingerprint(EVERY) == other.fingerprint(EVERY)
    assert one.hashes.tolist() == other.hashes.tolist()
    for name in other.table.texts:
        assert one.table.texts[name].tolist() == other.table.texts[name].tolist()
    order = np.random.default_rng(0).permutation(N)
    assert list(one.images(order)) == list(other.images(order))
    assert [one.image(at) for at in range(N)] == [jpeg(at) for at in range(N)]


def test_shards_of_a_web_server_are_those_of_the_disk(
    root: Path, served: Served, tmp_path: Path
) -> None:
    same(far(served, tmp_path / "cache"), open_shards("web", str(root)))
    files = [*root.glob("*.tar"), *root.glob("*.parquet")]
    assert served.sent == sum(path.stat().st_size for path in files)  # each byte once
    before = served.sent
    again = far(served, tmp_path / "cache")
    again.image(3)
    assert served.sent == before


@pytest.mark.slow
def test_where_there_is_no_room_images_alone_are_asked_for(
    root: Path, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_CACHE_GB", "0")
    source = far(served, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.tar"))
    before = served.sent
    order = np.random.default_rng(0).permutation(N)[:30]
    assert list(source.images(order)) == [jpeg(at) for at in order.tolist()]
    assert served.sent - before == sum(len(jpeg(at)) for at in order.tolist())
    same(source, open_shards("web", str(root)))


@pytest.mark.parametrize("room", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_requests_that_fail_stall_or_are_cut_change_nothing(
    room: str, root: Path, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in twenty, and more than half of it at once."""
    monkeypatch.setenv("HEADWATER_CACHE_GB", room)
    served.wrong = 0.05
    same(far(served, tmp_path / "cache"), open_shards("web", str(root)))
    served.wrong = 0.3
    same(far(served, tmp_path / "cache"), open_shards("web", str(root)))
    assert set(served.faults) == {"fails", "stalls", "cut"} or room == "1"


@pytest.mark.slow
def test_a_shard_whose_fetching_was_stopped_goes_on_where_it_was(
    root: Path, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, asked = remote.Remote.read, list[int]()

    def stopped(self: remote.Remote, name: str, begin: int, size: int) -> bytes:
        if len(asked) == 5:
            raise KeyboardInterrupt
        asked.append(size)
        return read(self, name, begin, size)

    monkeypatch.setattr(remote.Remote, "read", stopped)
    with pytest.raises(KeyboardInterrupt):
        far(served, tmp_path / "cache", workers=1)
    monkeypatch.setattr(remote.Remote, "read", read)
    same(far(served, tmp_path / "cache", workers=1), open_shards("web", str(root)))
    files = [*root.glob("*.tar"), *root.glob("*.parquet")]
    assert served.sent == sum(path.stat().st_size for path in files)


@pytest.mark.slow
def test_bytes_that_are_not_those_of_the_index_are_refused(
    root: Path, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_CACHE_GB", "0")
    source = far(served, tmp_path / "cache")
    write(root / "00001.tar", samples(70, 10))
    assert source.image(0) == jpeg(0)
    with pytest.raises(InputError, match="has changed since it was opened; start again"):
        source.images(np.array([0, 15]))
    assert far(served, tmp_path / "cache").image(10) == jpeg(70)


def test_what_is_not_there_is_told(served: Served, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no http://127\.0\.0\.1:\d+/00004\.tar"):
        open_shards("web", f"{served.url}/{{00000..00004}}.tar", cache=tmp_path)
    with pytest.raises(InputError, match="a web server does not say which files it has"):
        open_shards("web", f"{served.url}/", cache=tmp_path)
    with pytest.raises(InputError, match="begins with none of"):
        open_shards("web", "ftp://example.invalid/{0..1}.tar", cache=tmp_path)
    (served.root / "index.json").write_text('{"shardlist": [{"url": "00001.tar"}]}')
    assert len(open_shards("web", f"{served.url}/", cache=tmp_path).table) == 10


def test_a_server_that_is_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "TRIES", 2)
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/ cannot be read"):
        open_shards("web", "http://127.0.0.1:9/{0..1}.tar", cache=tmp_path)


@pytest.mark.slow
def test_shards_of_an_object_store_are_those_of_the_disk(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto's server speaks S3 on this machine."""
    with s3(root) as (_, words):
        for word, value in words.items():
            monkeypatch.setenv(word, value)
        here = open_shards("web", str(root))
        for written in ("s3://corpora/web/", "s3://corpora/web/{00000..00003}.tar"):
            same(open_shards("web", written, cache=tmp_path / "cache"), here)
        few = open_shards("web", "s3://corpora/web/0000[01].tar", cache=tmp_path / "cache")
        assert len(few.table) == 20
        monkeypatch.setenv("HEADWATER_CACHE_GB", "0")
        same(open_shards("web", "s3://corpora/web/", cache=tmp_path / "none"), here)
        with pytest.raises(InputError, match=r"there is no \.tar at"):
            open_shards("web", "s3://corpora/nothing/", cache=tmp_path / "cache")


def test_a_shard_for_which_the_disk_has_no_room_is_not_begun(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(remote, "kept_limit", lambda _: 1e9)
    with pytest.raises(InputError, match=r"00000\.tar has [\d,]+ bytes, and .* has room for 1,000"):
        far(served, tmp_path / "cache", workers=1)
    assert served.sent == 0


@pytest.mark.slow
def test_a_kept_shard_that_was_damaged_is_found_when_it_is_read(
    served: Served, tmp_path: Path
) -> None:
    far(served, tmp_path / "cache")
    for kept in (tmp_path / "cache" / "brought").rglob("*.tar"):
        data = bytearray(kept.read_bytes())
        at = data.index(jpeg(3)) if jpeg(3) in data else -1
        if at >= 0:
            data[at + 300] ^= 1
            kept.write_bytes(data)
    source = far(served, tmp_path / "cache")
    assert list(source.images(np.array([0, 12]))) == [jpeg(0), jpeg(12)]
    with pytest.raises(InputError, match=r"000000003' is not the one that was indexed.*remove it"):
        source.images(np.array([12, 3]))


@pytest.mark.slow
def test_several_who_bring_one_shard_at_once_bring_it_whole(
    root: Path, served: Served, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: far(served, tmp_path / "cache"), range(4)))
    for each in opened:
        same(each, open_shards("web", str(root)))
    files = [*root.glob("*.tar"), *root.glob("*.parquet")]
    kept = [path for path in (tmp_path / "cache" / "brought").rglob("*.tar*") if path.is_file()]
    assert sorted(path.stat().st_size for path in kept if path.suffix == ".tar") == sorted(
        path.stat().st_size for path in files if path.suffix == ".tar"
    )


@pytest.mark.slow
def test_what_comes_for_a_store_that_may_only_be_read_lies_with_the_user(
    root: Path, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    cache = tmp_path / "store" / "cache"
    monkeypatch.setattr(shards_room, "may_write", lambda folder: folder != cache)
    same(far(served, cache), open_shards("web", str(root)))
    assert not cache.exists()
