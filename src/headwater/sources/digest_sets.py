"""Which digests of millions of images are equal: exactly, and without sorting them as texts.

Each digest is mixed to 64 bits, which are compared; where these are equal, so must the digests be.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Digests = NDArray[np.bytes_]
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def num_distinct(digests: Digests) -> int:
    """How many different ones there are."""
    mixed = _mixed(digests)
    order = np.argsort(mixed)
    mixed = mixed[order]
    same = np.flatnonzero(mixed[1:] == mixed[:-1])
    if (digests[order[same + 1]] == digests[order[same]]).all():
        return len(digests) - len(same)
    return int(codes(digests).max(initial=-1)) + 1


def codes(digests: Digests) -> NDArray[np.int64]:
    """int64 [len(digests)]: the number of each different one, from 0, in order of appearance."""
    if not len(digests):
        return np.zeros(0, dtype=np.int64)
    found = pd.factorize(_mixed(digests))[0].astype(np.int64)
    first = np.full(int(found.max()) + 1, len(digests), dtype=np.int64)
    np.minimum.at(first, found, np.arange(len(digests)))
    if (digests[first[found]] == digests).all():
        return found
    return pd.factorize(digests.astype(object))[0].astype(np.int64)


def among(digests: Digests, others: Digests) -> NDArray[np.bool_]:
    """bool [len(digests)]: which of them are among some others."""
    out = np.zeros(len(digests), dtype=bool)
    if not len(digests) or not len(others):
        return out
    own, theirs = _mixed(digests), _mixed(others)
    near = others[pd.Series(theirs).isin(own).to_numpy()]
    if len(near):
        rows = np.flatnonzero(pd.Series(own).isin(_mixed(near)).to_numpy())
        out[rows] = np.isin(digests[rows], near)
    return out


def _mixed(digests: Digests) -> NDArray[np.uint64]:
    """uint64 [len(digests)]: equal for equal ones, however long their arrays' items are."""
    width = digests.dtype.itemsize
    words = -(-width // 8)
    padded = np.ascontiguousarray(digests.astype(f"S{8 * words}", copy=False))
    parts = padded.view(np.uint64).reshape(len(digests), words)
    mixed = np.zeros(len(digests), dtype=np.uint64)
    for at in range(words):
        part = parts[:, at] * (_ODD + np.uint64(2 * at))
        part = (part ^ (part >> np.uint64(29))) * _MIX
        # a longer array's items end with zeros, which add nothing
        mixed += part ^ (part >> np.uint64(32))
    return mixed
