"""The pixels of a cache are checked part by part as they are read, decoded again where they are
damaged, and refused where they cannot be.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from headwater.errors import InputError
from headwater.sources.folder import FolderSource
from headwater.sources.pixels import PixelCache, StreamedImages, chunks
from headwater.store import Store
from headwater.work.decoded import decoded
from tests.sources.drawn import EQUAL, MIXED, Drawn
from tests.sources.folders import put_images

HEADER = 128
"""Bytes of pixels.npy before its pixels."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few images fill many, and one image lies in several."""
    monkeypatch.setattr(chunks, "CHUNK", 1 << 9)


def built(path: Path, shapes: list, source: Drawn | None = None) -> PixelCache:
    return PixelCache.build(
        source or Drawn(shapes), np.arange(len(shapes)), 8, path, fingerprint="f"
    )


def flip(path: Path, bit: int) -> None:
    with path.open("rb+") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


@pytest.mark.parametrize("shapes", [MIXED[:40], EQUAL[:30]], ids=["mixed", "equal"])
def test_a_flipped_bit_of_pixels_is_decoded_again_and_told(
    shapes: list, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cache"
    every = np.arange(len(shapes))
    whole = built(path, shapes).gather(every)[0]
    bytes_whole = (path / "pixels.npy").read_bytes()
    bits = 8 * len(bytes_whole) - 8 * HEADER
    for bit in np.random.default_rng(0).integers(bits, size=40).tolist():
        caplog.clear()
        flip(path / "pixels.npy", 8 * HEADER + bit)
        with caplog.at_level(logging.WARNING, "headwater"):
            assert np.array_equal(built(path, shapes).gather(every)[0], whole)
        (told,) = caplog.messages
        assert "pixels.npy" in told
        assert "decoded again" in told
        assert (path / "pixels.npy").read_bytes() == bytes_whole, "and mended where it lies"


def test_a_process_that_has_the_cache_open_sees_what_another_one_mended(tmp_path: Path) -> None:
    shapes = MIXED[:40]
    every = np.arange(40)
    whole = built(tmp_path / "cache", shapes).gather(every)[0]
    flip(tmp_path / "cache" / "pixels.npy", 8 * HEADER + 77)
    first, second = built(tmp_path / "cache", shapes), built(tmp_path / "cache", shapes)
    assert np.array_equal(first.gather(every)[0], whole)
    assert np.array_equal(second.gather(every)[0], whole)


def test_only_the_chunks_that_are_asked_for_are_read_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = built(tmp_path / "cache", EQUAL[:30])
    looked: list[int] = []
    is_good = chunks.Chunks._is_good
    monkeypatch.setattr(
        chunks.Chunks,
        "_is_good",
        lambda self, chunk: looked.append(chunk) or is_good(self, chunk),
    )
    size = int(cache.index[1, 0])
    cache.image(3)
    assert looked == list(range(3 * size // 512, (4 * size - 1) // 512 + 1))
    cache.gather(np.arange(30))
    cache.gather(np.arange(30))
    assert sorted(looked) == list(range(-(-30 * size // 512)))


def test_images_that_are_not_asked_for_may_be_damaged(tmp_path: Path) -> None:
    built(tmp_path / "cache", EQUAL[:30])
    flip(tmp_path / "cache" / "pixels.npy", 8 * HEADER + 3)
    cache = PixelCache.open(tmp_path / "cache", image_size=8, fingerprint="f")
    cache.image(29)
    with pytest.raises(InputError, match=r"bytes 0 and on are damaged; remove its folder"):
        cache.image(0)


def test_images_that_decode_to_other_pixels_now_are_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "cache"
    built(path, MIXED[:40])
    flip(path / "pixels.npy", 8 * HEADER + 3)
    before = (path / "pixels.npy").read_bytes()

    class Otherwise(Drawn):
        def image(self, position: int) -> np.ndarray:
            return 255 - super().image(position)

    cache = built(path, MIXED[:40], Otherwise(MIXED[:40]))
    with pytest.raises(InputError, match="decode to other pixels now; remove its folder"):
        cache.gather(np.arange(40))
    assert (path / "pixels.npy").read_bytes() == before


def test_an_image_that_is_gone_is_named_where_its_pixels_are_damaged(tmp_path: Path) -> None:
    built(tmp_path / "cache", MIXED[:40])
    flip(tmp_path / "cache" / "pixels.npy", 8 * HEADER + 3)
    cache = built(tmp_path / "cache", MIXED[:40], Drawn(MIXED[:40], broken=(0,)))
    with pytest.raises(InputError, match=r"drawn: 0\.png"):
        cache.gather(np.arange(40))


@pytest.mark.parametrize("name", ["index.npy", "chunks.npy", "meta.json"])
def test_a_flipped_bit_beside_the_pixels_makes_the_cache_anew_or_changes_nothing(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cache"
    every = np.arange(40)
    whole = built(path, MIXED[:40]).gather(every)[0]
    size = len((path / name).read_bytes())
    told = 0
    for bit in np.random.default_rng(0).integers(8 * size, size=15).tolist():
        flip(path / name, bit)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "headwater"):
            assert np.array_equal(built(path, MIXED[:40]).gather(every)[0], whole)
        told += len(caplog.messages)
    assert told >= 13


def test_a_cache_of_before_its_pixels_had_checksums_is_built_anew(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    whole = built(path, EQUAL[:30]).gather(np.arange(30))[0]
    (path / "chunks.npy").unlink()
    meta = json.loads((path / "meta.json").read_text())
    for key in ("chunks", "form", "record_sha256"):
        del meta[key]
    (path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="before its pixels had checksums"):
        PixelCache.open(path, image_size=8, fingerprint="f")
    assert np.array_equal(built(path, EQUAL[:30]).gather(np.arange(30))[0], whole)
    assert (path / "chunks.npy").is_file()


# hashes of files
def hashes(root: Path, cache: Path) -> list[str]:
    source = FolderSource("set", root, fingerprint_cache=cache)
    return source.byte_hashes(np.arange(len(source.table)))


def blake(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def by_rename(path: Path, data: bytes) -> None:
    path.with_suffix(".new").write_bytes(data)
    os.replace(path.with_suffix(".new"), path)


@pytest.mark.parametrize("how", [in_place, by_rename])
def test_other_bytes_under_an_equal_size_and_time_are_another_identity(how, tmp_path: Path) -> None:
    root, cache = tmp_path / "root", tmp_path / "set.hashes"
    put_images(root, "a.png", "b.png")
    before = hashes(root, cache)
    for number in range(3):
        stat = (root / "a.png").stat()
        data = bytearray((root / "a.png").read_bytes())
        data[-20] ^= 1 + number
        how(root / "a.png", bytes(data))
        os.utime(root / "a.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
        now = (root / "a.png").stat()
        assert (now.st_size, now.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
        assert hashes(root, cache) == [blake(root / "a.png"), before[1]]


def test_a_flipped_bit_of_kept_hashes_is_told_and_changes_no_hash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, cache = tmp_path / "root", tmp_path / "set.hashes"
    put_images(root, "a.png", "b.png")
    expected = hashes(root, cache)
    whole = cache.read_bytes()
    for bit in np.random.default_rng(0).integers(8 * len(whole), size=25).tolist():
        flip(cache, bit)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "headwater"):
            assert hashes(root, cache) == expected
        assert len(caplog.messages) == (bit >= 8 * len("headwater hashes 2"))
        assert cache.read_bytes() == whole


def test_a_swap_of_two_files_is_seen(tmp_path: Path) -> None:
    """Both keep their times, and their inodes trade places."""
    root, cache = tmp_path / "root", tmp_path / "set.hashes"
    put_images(root, "a.png", "b.png")
    one, other = hashes(root, cache)
    for path in root.iterdir():
        os.utime(path, (1000, 1000))
    hashes(root, cache)
    os.rename(root / "a.png", root / "c.png")
    os.rename(root / "b.png", root / "a.png")
    os.rename(root / "c.png", root / "b.png")
    assert hashes(root, cache) == [other, one]


def test_a_damaged_cache_that_there_is_no_room_for_is_told_and_its_images_are_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, source, every = Store(tmp_path / "store", create=True), Drawn(EQUAL[:30]), np.arange(30)
    whole = decoded(source, every, 8, store).gather(every)[0]
    (path,) = (store.cache / "pixels").iterdir()
    (path / "meta.json").write_text("{")
    monkeypatch.setenv("HEADWATER_CACHE_GB", "0.000001")
    with caplog.at_level(logging.WARNING, "headwater"):
        images = decoded(source, every, 8, store)
    assert isinstance(images, StreamedImages)
    assert np.array_equal(images.gather(every)[0], whole)
    (told,) = caplog.messages
    assert "no room to make it again" in told
