"""Features as whole numbers, whose products float32 sums exactly in any order; and rows of features
that lie in a file or come in blocks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError

Features = NDArray[np.floating]
Rows = NDArray[np.int64]

BLOCK = 1 << 14
"""Rows that are read at a time."""
_FINE = float(1 << 23)
"""As headwater.curation.neighbours: float64 holds the products exactly."""


def scale_of(dim: int) -> float:
    """The length of features in whole numbers: no sum of products exceeds 2^24, which float32
    holds exactly, though rounding adds half a step to every value.
    """
    return float(np.floor(4096 - np.sqrt(dim) / 2 - 1))


def margin_of(dim: int) -> float:
    """By how much the cosine of two rounded features can be off, at most."""
    off = float(np.sqrt(dim)) / 2 / scale_of(dim)
    return 2 * off + off**2


def whole(features: Features) -> NDArray[np.float32]:
    """float32 [num, dim]: features of length `scale_of(dim)`, rounded; zeros stay zeros."""
    return _rounded(features, scale_of(features.shape[1])).astype(np.float32)


def cosines(a: Features, b: Features) -> NDArray[np.float64]:
    """float64 [num]: of row with row, right to about 1e-7, equal whatever the order of summing."""
    products: NDArray[np.float64] = (_rounded(a, _FINE) * _rounded(b, _FINE)).sum(axis=1)
    return products / _FINE**2


def _rounded(features: Features, scale: float) -> NDArray[np.float64]:
    values = np.asarray(features, dtype=np.float64)
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0)
    if not np.isfinite(largest).all():
        raise InputError("the features hold values that are no finite number")
    values = values / np.where(largest > 0, largest, 1)
    lengths = np.sqrt((values**2).sum(axis=1, keepdims=True))
    values *= scale / np.where(lengths > 0, lengths, 1)
    rounded: NDArray[np.float64] = np.rint(values, out=values)
    return rounded


def check(features: Features, name: str, dim: int | None = None) -> None:
    """Raises InputError for what are no features [num, dim]."""
    if features.ndim != 2 or features.dtype.kind not in "fi" or not features.shape[1]:
        raise InputError(
            f"{name}: features should be floating point [num_images, dim], not {features.dtype} "
            f"{list(features.shape)}"
        )
    if dim is not None and features.shape[1] != dim:
        raise InputError(
            f"{name}: features are {features.shape[1]} wide, others {dim}; use one encoder for all"
        )


def blocks_of(
    features: Features | Iterable[Features], name: str, dim: int | None = None, size: int = BLOCK
) -> Iterator[tuple[int, Features]]:
    """(first row, features) of blocks of `size` rows, the last one shorter, whatever the blocks
    that they come in.
    """
    given = [features] if isinstance(features, np.ndarray) else features
    held: list[Features] = []
    start, num = 0, 0
    for block in given:
        check(block, name, dim)
        dim = block.shape[1]
        at = 0
        while at < len(block):
            some = block[at : at + size - num]
            held.append(some)
            at, num = at + len(some), num + len(some)
            if num == size:
                yield start, held[0] if len(held) == 1 else np.concatenate(held)
                start, held, num = start + num, [], 0
    if num:
        yield start, held[0] if len(held) == 1 else np.concatenate(held)


@contextmanager
def in_a_file(features: Features | Iterable[Features], name: str) -> Iterator[Features]:
    """Features by row: themselves where they are an array; what comes in blocks is written to a
    file that is gone afterwards, and mapped.
    """
    if isinstance(features, np.ndarray):
        check(features, name)
        yield features
        return
    with tempfile.TemporaryDirectory() as folder:
        path, num, dim, dtype = Path(folder) / "features", 0, 1, np.dtype(np.float32)
        with path.open("wb") as file:
            for start, block in blocks_of(features, name):
                if start == 0:
                    dim, dtype = block.shape[1], block.dtype
                block.astype(dtype).tofile(file)
                num += len(block)
        if num:
            yield np.memmap(path, dtype=dtype, mode="r", shape=(num, dim))
        else:
            yield np.zeros((0, dim), dtype=dtype)


@contextmanager
def whole_in_a_file(features: Features, rows: Rows) -> Iterator[NDArray[np.int16]]:
    """int16 [num_rows, dim]: `whole` of some rows, ascending, in a file that is gone afterwards."""
    dim = features.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole"
        with path.open("wb") as file:
            for at in range(0, len(rows), BLOCK):
                whole(features[rows[at : at + BLOCK]]).astype(np.int16).tofile(file)
        yield np.memmap(path, dtype=np.int16, mode="r", shape=(len(rows), dim))
