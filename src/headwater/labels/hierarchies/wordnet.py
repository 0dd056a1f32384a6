"""WordNet's nouns: the copy of version 3.0 that is shipped, and the `data.noun` of any version.

The relation is "is a kind of" between synsets, the pointer `@` of the file; instances (`@i`: the
sun is a star) have no part in it, so the sun is a root. Nodes are called as ImageNet calls them, n
and the synset's eight digits.

tools/make_wordnet.py makes the shipped file. It has the nouns and the relation alone, 180 kB;
titles of synsets are in `class_lists.synset_titles`. Its form: zlib, and in it, all numbers
little-endian: int32 number of synsets and of edges, then in planes of bytes (the lowest byte of
every number first, as that packs well) the gaps between synset numbers (2 bytes each), the number
of children of each synset (2), and, over the children of all synsets, ascending in each, the step
from the child before, the first's from its parent (3, zigzag: 2 d for d >= 0, else -2 d - 1).
"""

from __future__ import annotations

import re
import zlib
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.labels.hierarchies.reading import read_lines, shown
from headwater.labels.hierarchy import Hierarchy

SHIPPED = "wordnet30_nouns.bin"
NOTICE = "  1 This software and database"
"""How a data.noun begins."""
_SYNSET = re.compile(r"([0-9]{8}) [0-9]{2} n ([0-9a-f]{2}) ")
_POINTER = re.compile(r" @ ([0-9]{8}) n 0000(?= |$)")


@cache
def shipped_wordnet() -> Hierarchy:
    """WordNet 3.0's 82,115 nouns and 75,850 relations."""
    return unpacked(
        (files("headwater.labels.hierarchies") / SHIPPED).read_bytes(), f"the shipped {SHIPPED}"
    )


def read_wordnet(path: Path) -> Hierarchy:
    """The nouns of a `data.noun`, with their words as titles.

    Raises InputError, with the line, for what has not the form of one.
    """
    synsets, parents, children, titles = parse_nouns(path)
    names = synset_names(synsets)
    return Hierarchy.from_indices(
        names, parents, children, where=str(path), titles=dict(zip(names, titles, strict=True))
    )


def parse_nouns(
    path: Path,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], list[str]]:
    """(synset numbers int64 [n], ascending; parent and child, as indices into them, int64
    [num_edges]; the words of each synset).
    """
    parents: list[int] = []
    children: list[int] = []
    lines: list[int] = []
    titles: dict[int, str] = {}
    for number, line in read_lines(path):
        if line.startswith("  "):
            continue  # the licence
        head = line.partition(" | ")[0].rstrip()
        match = _SYNSET.match(head)
        words = head.split(" ", 4 + 2 * int(match[2], 16))[4:-1:2] if match else []
        if match is None or len(words) != int(match[2], 16) or not words:
            raise InputError(
                f"{path}, line {number}: this is no synset of a WordNet data.noun: {shown(line)}"
            )
        synset = int(match[1])
        if synset in titles:
            raise InputError(f"{path}, line {number}: the synset {match[1]} is there twice")
        titles[synset] = ", ".join(words).replace("_", " ")
        for parent in _POINTER.findall(head):
            parents.append(int(parent))
            children.append(synset)
            lines.append(number)
    if not titles:
        raise InputError(f"{path}: there is no synset in this file")
    for parent, number in zip(parents, lines, strict=True):
        if parent not in titles:
            raise InputError(
                f"{path}, line {number}: the synset {parent:08d}, to which this one points, is not "
                "in the file"
            )
    synsets = np.array(sorted(titles), dtype=np.int64)
    return (
        synsets,
        np.searchsorted(synsets, np.array(parents, dtype=np.int64)).astype(np.int64),
        np.searchsorted(synsets, np.array(children, dtype=np.int64)).astype(np.int64),
        [titles[synset] for synset in synsets.tolist()],
    )


def synset_names(synsets: NDArray[np.int64]) -> list[str]:
    """n and eight digits for each synset number (int64 [n])."""
    letters = np.empty((len(synsets), 9), dtype=np.uint8)
    letters[:, 0] = ord("n")
    letters[:, 1:] = ord("0") + synsets[:, None] // 10 ** np.arange(7, -1, -1) % 10
    names: list[str] = letters.view("S9")[:, 0].astype("U9").tolist()
    return names


def packed(
    synsets: NDArray[np.int64], parents: NDArray[np.int64], children: NDArray[np.int64]
) -> bytes:
    """The bytes of the shipped form, from what `parse_nouns` gives."""
    order = np.lexsort((children, parents))
    above, below = parents[order], children[order]
    steps = np.where(np.diff(above, prepend=-1) != 0, below - above, np.diff(below, prepend=0))
    content = b"".join(
        (
            np.array([len(synsets), len(below)], dtype="<i4").tobytes(),
            _planes(np.diff(synsets, prepend=0), 2),
            _planes(np.bincount(above, minlength=len(synsets)), 2),
            _planes(np.where(steps >= 0, 2 * steps, -2 * steps - 1), 3),
        )
    )
    return zlib.compress(content, 9)


def unpacked(data: bytes, where: str) -> Hierarchy:
    """The hierarchy in `packed` bytes. Raises InputError for others."""
    try:
        content = zlib.decompress(data)
        num_synsets, num_edges = np.frombuffer(content, "<i4", 2).tolist()
        ends = np.cumsum([8, 2 * num_synsets, 2 * num_synsets, 3 * num_edges]).tolist()
        gaps, counts, steps = (
            _numbers(content[start:end], width)
            for start, end, width in zip(ends, ends[1:], (2, 2, 3), strict=False)
        )
        if min(num_synsets, num_edges) < 1 or ends[-1] != len(content) or counts.sum() != num_edges:
            raise ValueError("its parts do not fit together")
    except (zlib.error, ValueError) as error:
        raise InputError(
            f"{where}: this is no packed hierarchy ({error}); make it anew with "
            "tools/make_wordnet.py"
        ) from None
    above = np.repeat(np.arange(num_synsets), counts)
    steps = np.where(steps % 2, -(steps + 1) // 2, steps // 2)
    first = np.diff(above, prepend=-1) != 0
    running = np.cumsum(np.where(first, 0, steps))
    start = np.maximum.accumulate(
        np.where(first, np.arange(num_edges), 0)
    )  # the first edge of the same parent
    below = (above + steps)[start] + running - running[start]
    if below.min() < 0 or below.max() >= num_synsets:
        raise InputError(
            f"{where}: this is no packed hierarchy (an edge leaves it); make it anew with "
            "tools/make_wordnet.py"
        )
    return Hierarchy.from_indices(synset_names(np.cumsum(gaps)), above, below, where=where)


def _planes(numbers: NDArray[np.int64], width: int) -> bytes:
    """The lowest byte of every number (0 <= number < 256^width), then the next of every one."""
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= 1 << 8 * width:
        raise ValueError(f"a number does not fit in {width} bytes")
    return numbers.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].T.tobytes()


def _numbers(planes: bytes, width: int) -> NDArray[np.int64]:
    low_first = np.frombuffer(planes, np.uint8).reshape(width, -1).astype(np.int64)
    numbers: NDArray[np.int64] = (low_first << 8 * np.arange(width)[:, None]).sum(axis=0)
    return numbers
