"""What a text tower reads of very many texts: `headwater.labels.tokens`, of whole columns at a
time.

A web corpus has millions of captions, of which nearly all are plain: printable ASCII that ends
before the tower's context does. Their words are found by one pattern over a column; what is left
is read one by one. Tests hold both to the same answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.labels import tokens
from headwater.labels.tokens import CONTEXT, Heard, Reading, word_tokens
from headwater.machine import cores
from headwater.sources.strings import Lists, bytes_of

FEW = 5_000
"""Lists of texts that are read one by one: a column costs more to begin with [ours]."""
_AT_ONCE = 100_000
_PLAIN = r"^[ -%'-;=-~]*$"
"""Printable ASCII without & and <, with which entities and the tokens of start and end begin."""
_SPACE, _LETTER, _DIGIT, _SIGN = range(4)
_KINDS = np.full(256, _SIGN, dtype=np.uint8)
_KINDS[ord(" ")] = _SPACE
_KINDS[ord("a") : ord("z") + 1] = _LETTER
_KINDS[ord("0") : ord("9") + 1] = _DIGIT


def read(lists: Sequence[Sequence[str]], context: int = CONTEXT) -> Reading:
    """`headwater.labels.tokens.read`, faster where there are many texts."""
    flat = _flat(lists)
    if flat is None:
        return tokens.read(lists, context)
    with ThreadPoolExecutor(cores()) as pool:  # patterns over columns let go of the interpreter
        starts = range(0, len(flat), _AT_ONCE)
        parts = list(pool.map(lambda start: _part(flat, start, context), starts))
    texts = np.concatenate([part.texts for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    keys = np.concatenate([part.keys for part in parts])
    whole = np.concatenate([part.whole for part in parts])
    blank = np.concatenate([part.blank for part in parts])
    del parts  # of millions of texts they take as much again
    distinct = _equal(texts).first
    del texts
    rows, keys, whole, blank = rows[distinct], keys[distinct], whole[distinct], blank[distinct]
    equal = _equal(keys)
    alike = None
    if equal.pair is not None:
        before, after = (flat[int(rows[at])].as_py() for at in equal.pair)
        alike = before, after
    told_apart = len(equal.first)
    one = False
    lengths = lists.lengths() if isinstance(lists, Lists) else np.array(list(map(len, lists)))
    if told_apart <= lengths.min():
        known = dict.fromkeys(text for own in lists for text in own)
        one = tokens.is_one(lists, {text: tokens.token_key(text, context) for text in known})
    return Reading(
        context, len(distinct), int((~whole).sum()), told_apart, int(blank.sum()), alike, one
    )


def heard(lists: Sequence[Sequence[str]], context: int = CONTEXT) -> Heard:
    """`headwater.labels.tokens.Heard.of`, faster where there are many texts."""
    flat = _flat(lists)
    if flat is None:
        return Heard.of(lists, context)
    longest, known = 0, set[str]()
    for start in range(0, len(flat), _AT_ONCE):
        chunk = flat.slice(start, _AT_ONCE).dictionary_encode().dictionary
        joined, whole = _joined(chunk)
        counts, words = _counted(joined)
        cut = (counts > context - 2) | ~whole
        longest = max(longest, int(counts[~cut].max(initial=0)))
        for word in pc.unique(words.filter(pa.array(~cut)).flatten()).to_pylist():
            if word:
                known.update(word_tokens(word))
        for text in chunk.filter(pa.array(cut)).to_pylist():
            own = tokens.tokens_of(text, context)
            longest = max(longest, len(own))
            known.update(own)
    return Heard(longest + 2, frozenset(known))


def _flat(lists: Sequence[Sequence[str]]) -> Any | None:
    """large_string: all texts in their order; None of few, and of such as no column can hold."""
    if len(lists) < FEW:
        return None
    if isinstance(lists, Lists):
        return lists.arrow.flatten()
    try:
        return pa.array((text for own in lists for text in own), pa.large_string())
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return None


@dataclass(frozen=True)
class _Part:
    """Different texts of a part of a column, in the order in which they come."""

    rows: NDArray[np.int64]
    """int64 [n]: where each stands first."""
    texts: NDArray[np.uint64]
    """uint64 [n, 2]: digests of the texts."""
    keys: NDArray[np.uint64]
    """uint64 [n, 2]: digests of what is read of them."""
    whole: NDArray[np.bool_]
    """Whether a text is read to its end."""
    blank: NDArray[np.bool_]


def _part(flat: Any, start: int, context: int) -> _Part:
    coded = flat.slice(start, _AT_ONCE).dictionary_encode()
    chunk, codes = coded.dictionary, coded.indices.to_numpy()
    rows = np.full(len(chunk), len(codes), dtype=np.int64)
    np.minimum.at(rows, codes, np.arange(len(codes)))
    joined, whole = _joined(chunk)
    room = context - 2
    letters = pc.subtract(pc.binary_length(joined), pc.count_substring(joined, " "))
    long = np.flatnonzero(letters.to_numpy() >= room)
    counts = np.zeros(len(chunk), dtype=np.int64)
    if len(long):
        counts[long] = _counted(joined.take(pa.array(long)))[0]
    keys = _digests(joined.cast(pa.large_binary()).to_pylist())
    full = np.flatnonzero(counts >= room)
    for at in full.tolist():
        key, all_of_it = tokens.key_of(chunk[at].as_py(), context)
        keys[at] = np.frombuffer(key, dtype="<u8")
        whole[at] = all_of_it
    blank = (pc.binary_length(joined).to_numpy() == 0) & (counts == 0)
    texts = _digests(chunk.cast(pa.large_binary()).to_pylist())
    return _Part(rows + start, texts, keys, whole, blank)


def _joined(texts: Any) -> tuple[Any, NDArray[np.bool_]]:
    """(the words of each text with a space between, whether the end token leaves none out)"""
    plain = pc.match_substring_regex(texts, _PLAIN)
    joined = _spaced(pc.ascii_lower(pc.if_else(plain, texts, "")))
    whole = np.ones(len(texts), dtype=bool)
    odd = np.flatnonzero(~plain.to_numpy(zero_copy_only=False))
    if len(odd):
        others = []
        for at, text in zip(odd.tolist(), texts.take(pa.array(odd)).to_pylist(), strict=True):
            pieces, whole[at] = tokens.pieces_of(text)
            others.append(" ".join(pieces))
        mask = pc.invert(plain)
        joined = pc.replace_with_mask(joined, mask, pa.array(others, pa.large_string()))
    return joined, whole


def _spaced(texts: Any) -> Any:
    """Plain texts in lower case with one space between their words, and no other: what the
    pattern of `headwater.labels.tokens` finds, byte by byte.

    A word is a run of letters, one digit, a run of signs, or a contraction where a word begins.
    """
    data = np.frombuffer(bytes_of(texts), dtype=np.uint8)
    ends = _offsets(texts)
    kinds = _KINDS[data]
    starts = np.zeros(len(data) + 1, dtype=bool)
    starts[ends] = True  # of texts, empty ones too
    begins = np.empty(len(data), dtype=bool)
    begins[:1] = True
    begins[1:] = (kinds[1:] != kinds[:-1]) | (kinds[1:] == _DIGIT)
    begins |= starts[:-1]
    begins &= kinds != _SPACE
    for at, size in _contractions(data, begins, starts):
        begins[at + 1] = False
        behind = at + size
        behind = behind[behind < len(data)]
        begins[behind] = kinds[behind] != _SPACE
    shown = kinds != _SPACE
    first = np.zeros(len(data), dtype=bool)  # the first word of each text has no space before it
    words = np.flatnonzero(begins)
    of = np.searchsorted(ends, words, side="right")
    first[words[np.concatenate([[True], of[1:] != of[:-1]])[: len(words)]]] = True
    sizes = shown.astype(np.int64) + (begins & ~first)
    after = np.cumsum(sizes)
    out = np.full(int(after[-1]) if len(after) else 0, ord(" "), dtype=np.uint8)
    out[after[shown] - 1] = data[shown]
    offsets = np.concatenate([[0], after])[ends]
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(out)]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers)


def _contractions(
    data: NDArray[np.uint8], begins: NDArray[np.bool_], starts: NDArray[np.bool_]
) -> list[tuple[NDArray[np.int64], int]]:
    """(where those of a length begin, that length)"""
    marks = np.flatnonzero(begins & (data == ord("'")))
    padded = np.concatenate([data, np.zeros(2, dtype=np.uint8)])
    edges = np.concatenate([starts, [True, True]])
    next_one, next_two = padded[marks + 1], padded[marks + 2]
    one_inside, two_inside = ~edges[marks + 1], ~(edges[marks + 1] | edges[marks + 2])
    short = np.isin(next_one, np.frombuffer(b"stmd", dtype=np.uint8)) & one_inside
    long = np.zeros(len(marks), dtype=bool)
    for pair in (b"re", b"ve", b"ll"):
        long |= (next_one == pair[0]) & (next_two == pair[1])
    return [(marks[short], 2), (marks[long & two_inside], 3)]


def _offsets(column: Any) -> NDArray[np.int64]:
    """int64 [len(column) + 1]: where each text begins in `bytes_of` it, and where all end."""
    ends = np.frombuffer(column.buffers()[1], dtype=np.int64)
    ends = ends[column.offset : column.offset + len(column) + 1]
    found: NDArray[np.int64] = ends - ends[0]
    return found


def _counted(joined: Any) -> tuple[NDArray[np.int64], Any]:
    """(tokens of each text, its words)"""
    words = pc.split_pattern(joined, " ")
    coded = words.flatten().dictionary_encode()
    sizes = [len(word_tokens(word)) if word else 0 for word in coded.dictionary.to_pylist()]
    each = np.array(sizes, dtype=np.int64)[coded.indices.to_numpy()]
    ends = np.concatenate([[0], np.cumsum(each)])
    offsets = words.offsets.to_numpy()
    return ends[offsets[1:]] - ends[offsets[:-1]], words


def _digests(texts: list[bytes]) -> NDArray[np.uint64]:
    """uint64 [n, 2]: BLAKE2b-128 of each text."""
    digest = hashlib.blake2b
    raw = b"".join([digest(text, digest_size=16).digest() for text in texts])
    return np.frombuffer(raw, dtype="<u8").reshape(-1, 2).copy()


@dataclass(frozen=True)
class _Equal:
    """Which of some digests are equal."""

    first: NDArray[np.int64]
    """int64 [num_different], ascending: where each different one comes first."""
    pair: tuple[int, int] | None
    """The first digest that came before, as (where it came first, where again)."""


def _equal(digests: NDArray[np.uint64]) -> _Equal:
    """Of uint64 [n, 2]. They are sorted by their first half; the second must be equal then, too."""
    order = np.argsort(digests[:, 0], kind="stable")
    halves = digests[order, 0]
    same = halves[1:] == halves[:-1]
    if (digests[order[1:][same], 1] != digests[order[:-1][same], 1]).any():
        order = np.lexsort((digests[:, 1], digests[:, 0]))
        same = (digests[order[1:]] == digests[order[:-1]]).all(axis=1)
    del halves
    new = np.concatenate([[True], ~same])[: len(order)]
    again = order[1:][same]
    pair = None
    if len(again):
        second = int(again.min())
        at = int(np.flatnonzero(order == second)[0])
        pair = int(order[np.flatnonzero(new[: at + 1])[-1]]), second
    return _Equal(np.sort(order[new]), pair)
