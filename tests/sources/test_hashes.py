"""Digests of many files: by one thread where they come quickly, by many where they do not."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

import numpy as np
import pytest

from headwater.sources import hashes
from headwater.sources.hashes import ByteHashes

COUNT = 300


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """More than are asked one after another; one of no bytes, one of several reads."""
    made = []
    for number in range(COUNT):
        path = tmp_path / f"{number:04}"
        path.write_bytes(bytes([number % 251]) * (number if number != 7 else hashes._AT_ONCE + 3))
        made.append(path)
    return made


def digests(files: list[Path], stat: Callable[[int], os.stat_result]) -> ByteHashes:
    def opened(position: int) -> BufferedReader:
        return files[position].open("rb")

    return ByteHashes(np.array([str(path) for path in files], dtype=object), opened, stat)


@pytest.mark.parametrize("slow", [False, True])
def test_digests_are_those_of_the_bytes_in_the_order_that_is_asked(
    files: list[Path], slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "_QUICK_S", 0.0 if slow else 1.0)
    monkeypatch.setattr(hashes, "_CHUNK", 16)
    found = digests(files, lambda position: files[position].stat())
    order = np.random.default_rng(0).permutation(COUNT)
    for asked in (order, order[:5], np.array([3, 3, 1])):
        assert found(asked) == [
            hashlib.blake2b(files[at].read_bytes(), digest_size=16).hexdigest()
            for at in asked.tolist()
        ]
    assert found(np.array([], dtype=np.int64)) == []


def test_files_that_are_far_away_are_waited_for_together(files: list[Path]) -> None:
    def stat(position: int) -> os.stat_result:
        time.sleep(0.005)
        return files[position].stat()

    found = digests(files, stat)
    began = time.perf_counter()
    found(np.arange(COUNT))
    one_by_one = 0.005 * COUNT
    assert time.perf_counter() - began < 0.8 * one_by_one
