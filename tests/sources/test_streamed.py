"""Streamed images: the cache's pixels to the bit, its errors to the word, bounded threads and
memory; and which of the two a plan gets.
"""

from __future__ import annotations

import errno
import json
import shutil
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headwater import device, work
from headwater.errors import InputError
from headwater.plan import Plan
from headwater.sources import Source, Table
from headwater.sources.folder import FolderSource
from headwater.sources.pixels import PixelCache, StreamedImages, estimated_bytes
from headwater.store import Store
from headwater.study import Study
from headwater.work import decoded
from tests.conftest import tiny
from tests.needs import DATA, needs_data
from tests.sources.drawn import EQUAL, MIXED, Drawn


def assert_same_batch(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        assert a.flags.writeable
        assert a.flags.c_contiguous
        assert np.array_equal(a, b)


def photos(root: Path, count: int = 24) -> FolderSource:
    """Files of all kinds of size, two formats, in two classes, some of them to be turned."""
    random = np.random.default_rng(0)
    for at in range(count):
        folder = root / "train" / ("cat", "dog")[at % 2]
        folder.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        image = small.resize((60 + 13 * (at % 7), 50 + 17 * (at % 5)))
        exif = Image.Exif()
        exif[0x0112] = 1 + at % 8
        image.save(folder / f"{at:02d}.{'jpg' if at % 3 else 'png'}", exif=exif)
    return FolderSource("photos", root)


@pytest.mark.parametrize(
    "shapes", [MIXED, EQUAL, [(12, 18)], [(9, 3)] * 2], ids=["mixed", "equal", "one", "two"]
)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_streamed_batches_are_the_bits_of_cached_ones(tmp_path, shapes, threads):
    source, positions = Drawn(shapes), np.arange(len(shapes))[::-1].copy()
    cache = PixelCache.build(source, positions, 8, tmp_path / "cache", fingerprint="f")
    streamed = StreamedImages(source, positions, 8, threads=threads)
    assert len(streamed) == len(cache)
    random = np.random.default_rng(0)
    for size in (1, 2, 7, 64, 193):
        rows = random.integers(0, len(shapes), size)  # some of them twice
        assert_same_batch(streamed.gather(rows), cache.gather(rows))
    part = random.permutation(len(shapes))[:50]
    rows = random.integers(0, len(part), 20)
    assert len(streamed.subset(part)) == len(part)
    assert_same_batch(streamed.subset(part).gather(rows), cache.subset(part).gather(rows))


@pytest.mark.parametrize("threads", [1, 3])
def test_streamed_files_are_the_bits_of_cached_ones(tmp_path, threads):
    source = photos(tmp_path / "photos")
    positions = np.arange(1, len(source.table))
    cache = PixelCache.build(source, positions, 32, tmp_path / "cache", fingerprint="f")
    rows = np.random.default_rng(0).permutation(len(positions))
    assert_same_batch(
        StreamedImages(source, positions, 32, threads=threads).gather(rows), cache.gather(rows)
    )


@needs_data
@pytest.mark.parametrize("name", ["caltech101", "noto_emoji"])
def test_streamed_photos_and_emoji_are_the_bits_of_cached_ones(tmp_path, name):
    assert DATA
    source = FolderSource(name, Path(DATA) / name)
    positions = np.arange(0, len(source.table), len(source.table) // 150)
    cache = PixelCache.build(source, positions, 64, tmp_path / "cache", fingerprint="f")
    rows = np.arange(len(positions))[::-1]
    assert_same_batch(
        StreamedImages(source, positions, 64, threads=2).gather(rows), cache.gather(rows)
    )


def test_an_empty_batch(tmp_path):
    images, sizes = StreamedImages(Drawn(MIXED), np.arange(10), 8, threads=2).gather(
        np.empty(0, dtype=np.int64)
    )
    assert (images.shape, sizes.shape, sizes.dtype) == ((0, 0, 0, 3), (0, 2), np.int64)


@pytest.mark.parametrize("threads", [1, 3])
def test_what_cannot_be_decoded_is_named_with_the_words_of_the_cache(tmp_path, threads):
    """Several are broken: the first of the batch is named, as the first of the set is by the
    cache.
    """
    source = Drawn(MIXED, broken={120, 150, 199})
    with pytest.raises(InputError) as cached:
        PixelCache.build(
            source, np.arange(200), 8, tmp_path / "cache", fingerprint="f", threads=threads
        )
    streamed = StreamedImages(source, np.arange(200), 8, threads=threads)
    with pytest.raises(InputError) as raised:
        streamed.gather(np.arange(200))
    assert str(raised.value) == str(cached.value)
    assert str(raised.value).startswith("drawn: 120.png: this is no image")
    with pytest.raises(InputError, match=r"^drawn: 150\.png: "):
        streamed.gather(np.array([3, 150, 120]))
    assert len(streamed.gather(np.arange(100))[0]) == 100, "and what is whole can be had afterwards"


@pytest.mark.parametrize("threads", [1, 2])
def test_files_that_are_damaged_or_gone_are_named_with_the_words_of_the_cache(tmp_path, threads):
    source = photos(tmp_path / "photos")
    ids = source.table.ids.tolist()
    (tmp_path / "photos" / ids[5]).unlink()
    whole = (tmp_path / "photos" / ids[8]).read_bytes()
    (tmp_path / "photos" / ids[8]).write_bytes(whole[: len(whole) // 2])
    for bad in (5, 8):
        with pytest.raises(InputError) as cached:
            PixelCache.build(source, np.array([0, bad]), 32, tmp_path / "cache", fingerprint="f")
        with pytest.raises(InputError) as raised:
            StreamedImages(source, np.array([0, bad]), 32, threads=threads).gather(np.array([0, 1]))
        assert str(raised.value) == str(cached.value)
        assert ids[bad] in str(raised.value)


class Counting(Drawn):
    """Knows how many threads were in it at once."""

    def __init__(self, shapes):
        super().__init__(shapes)
        self._lock, self._inside, self.most = threading.Lock(), 0, 0

    def image(self, position):
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        time.sleep(0.001)
        image = super().image(position)
        with self._lock:
            self._inside -= 1
        return image


def test_threads_bound_what_is_decoded_at_once_however_many_ask():
    source = Counting(MIXED)
    streamed = StreamedImages(source, np.arange(200), 8, threads=3)
    batches = np.random.default_rng(0).integers(0, 200, (12, 16))
    with ThreadPoolExecutor(6) as askers:
        got = list(askers.map(streamed.gather, batches))
    assert source.most == 3
    for rows, batch in zip(batches, got, strict=True):
        assert_same_batch(batch, StreamedImages(Drawn(MIXED), np.arange(200), 8).gather(rows))


def test_the_threads_of_a_stream_end_with_it():
    before = set(threading.enumerate())
    streamed = StreamedImages(Drawn(EQUAL), np.arange(200), 8, threads=3)
    streamed.gather(np.arange(40))
    assert len(set(threading.enumerate()) - before) == 3
    del streamed
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Endless(Source):
    """Ten million samples that take no memory."""

    def __init__(self):
        self.name = "endless"
        self.table = Table(
            ids=np.broadcast_to(np.array(["one.png"], dtype=object), (10_000_000,)), splits={}
        )

    def image(self, position):
        return np.full((40, 40, 3), position % 251, dtype=np.uint8)

    def byte_hashes(self, positions):
        raise NotImplementedError


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_ten_million_rows_cost_no_more_memory_than_a_batch(threads):
    source, positions, part = Endless(), np.arange(10_000_000), np.arange(0, 10_000_000, 2)
    tracemalloc.start()
    try:
        images = StreamedImages(source, positions, 32, threads=threads).subset(part)
        for at in range(100):
            batch, _ = images.gather(np.arange(at * 49_999, at * 49_999 + 64))
            assert batch[3, 0, 0, 0] == (2 * (at * 49_999 + 3)) % 251
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1e6
    assert peak < 5e6, "a batch is 0.3 MB"


# which of the two
def cached_folders(store: Store) -> list[str]:
    return (
        sorted(path.name for path in (store.cache / "pixels").glob("*"))
        if (store.cache / "pixels").exists()
        else []
    )


@pytest.mark.parametrize(
    ("stated", "limit"), [("0", 0), ("2.5", 2.5e9), ("1e3", 1e12), ("inf", float("inf"))]
)
def test_the_environment_states_the_limit(tmp_path, monkeypatch, stated, limit):
    monkeypatch.setenv("HEADWATER_CACHE_GB", stated)
    assert decoded.cache_limit(tmp_path) == limit


@pytest.mark.parametrize("stated", ["", "lots", "-1", "nan", "32GB"])
def test_a_limit_that_is_no_number_of_gigabytes_is_refused(tmp_path, monkeypatch, stated):
    monkeypatch.setenv("HEADWATER_CACHE_GB", stated)
    with pytest.raises(
        InputError, match="HEADWATER_CACHE_GB should be a number of gigabytes, 0 or more"
    ):
        decoded.cache_limit(tmp_path)


@pytest.mark.parametrize(("free", "limit"), [(10**13, 32e9), (10**9, 5e8)])
def test_by_default_the_limit_is_32_gigabytes_or_half_of_the_free_disk(
    tmp_path, monkeypatch, free, limit
):
    monkeypatch.delenv("HEADWATER_CACHE_GB", raising=False)
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda path: shutil._ntuple_diskusage(2 * free, free, free) if path.exists() else None,
    )
    assert decoded.cache_limit(tmp_path / "not" / "there" / "yet") == limit


@pytest.mark.parametrize(
    ("shape", "share"), [((20, 20), 0.75), ((30, 40), 1), ((40, 30), 1), ((5, 50), 3)]
)
def test_the_estimate_is_exact_for_an_aspect_of_four_to_three_and_off_by_three_at_most(
    tmp_path, shape, share
):
    cache = PixelCache.build(
        Drawn([shape] * 50), np.arange(50), 24, tmp_path / "cache", fingerprint="f"
    )
    assert len(cache.pixels) == share * estimated_bytes(50, 24)


def test_a_set_is_cached_up_to_the_limit_and_streamed_above_it(tmp_path, monkeypatch):
    store, source, positions = Store(tmp_path / "store", create=True), Drawn(EQUAL), np.arange(100)
    estimate = estimated_bytes(100, 8) / 1e9
    monkeypatch.setenv("HEADWATER_CACHE_GB", repr(estimate * 0.999))
    assert isinstance(decoded.decoded(source, positions, 8, store), StreamedImages)
    assert cached_folders(store) == []
    monkeypatch.setenv("HEADWATER_CACHE_GB", repr(estimate * 1.001))
    assert isinstance(decoded.decoded(source, positions, 8, store), PixelCache)
    assert len(cached_folders(store)) == 1
    monkeypatch.setenv("HEADWATER_CACHE_GB", repr(estimate / 2))
    assert isinstance(decoded.decoded(source, positions, 8, store), PixelCache), (
        "it is there, and takes no more disk than it does"
    )
    monkeypatch.setenv("HEADWATER_CACHE_GB", "0")
    assert isinstance(decoded.decoded(source, positions, 8, store), StreamedImages)


def test_a_disk_that_is_full_after_all_is_no_failure_and_is_left_as_it_was(tmp_path, monkeypatch):
    store, source, positions = Store(tmp_path / "store", create=True), Drawn(EQUAL), np.arange(100)
    monkeypatch.delenv("HEADWATER_CACHE_GB", raising=False)

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("headwater.sources.pixels.cache._flush", full)
    images = decoded.decoded(source, positions, 8, store)
    assert isinstance(images, StreamedImages)
    assert cached_folders(store) == []
    assert len(images.gather(np.arange(5))[0]) == 5

    def broken(file):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("headwater.sources.pixels.cache._flush", broken)
    with pytest.raises(OSError, match="Input/output error") as raised:
        decoded.decoded(source, positions, 8, store)
    assert raised.value.filename.startswith(str(store.cache / "pixels"))


@pytest.mark.parametrize("data", ["world", "files"])
def test_an_arm_from_streamed_pixels_has_the_weights_of_one_from_cached_pixels(
    tmp_path, monkeypatch, data
):
    words = tiny(
        methods=["supervised", "simclr"],
        budget={"steps": 6},
        recipe={**tiny()["recipe"], "batch": 8},
    )
    if data == "files":
        photos(tmp_path / "photos")
        words["data"]["paint"] = {"kind": "folder", "path": str(tmp_path / "photos")}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        weights = {}
        for limit in ("0", "1"):
            monkeypatch.setenv("HEADWATER_CACHE_GB", limit)
            store = Store(tmp_path / limit, create=True)
            plan = Plan.make(Study.model_validate(words), cache=store.cache)
            for arm in plan.arms:
                work.run_arm(
                    work.Session(plan, store, device.Compute(torch.device("cpu"), False)), arm
                )
            assert len(cached_folders(store)) == int(limit)
            weights[limit] = {
                arm.id: json.loads((store.arm_folder(arm.id) / "arm.json").read_text())[
                    "encoder_sha256"
                ]
                for arm in plan.arms
            }
    finally:
        torch.set_num_threads(before)
    assert weights["0"] == weights["1"]
    assert len(set(weights["0"].values())) == len(plan.arms) == 2
