"""What a text tower reads of a text: the tokens that CLIP's tokenizer makes of it, up to the
tower's context.

Two texts are one to a model where their tokens are equal: where they differ in case, in spaces or
in ways to write a character (entities, curled quotation marks), or beyond the context. What is
counted here stands on rows, so it must not take the seconds that importing torch takes: the
tokenizer is written anew, over open_clip's file of merges, and tests hold it to open_clip's.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from headwater.errors import InputError

CONTEXT = 77
"""[paper] Tokens of a text that CLIP reads, its start and its end counted (Radford et al. 2021)."""
_END = "<end_of_text>"
_WORDS = "<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|"
_ASCII = re.compile(_WORDS + r"[a-z]+|[0-9]|[^\sa-z0-9]+")
_MERGES = 49152 - 256 - 2
"""Merges that CLIP's vocabulary takes from the file: 49,152 tokens less those of single bytes, and
two.
"""


@dataclass(frozen=True)
class Reading:
    """What a text tower reads of the texts of some images."""

    context: int
    """Tokens of a text that it reads, start and end counted."""
    texts: int
    """Different texts, as they are written."""
    cut: int
    """Texts of which it does not read the end."""
    told_apart: int
    """Different sequences of tokens: what it can tell apart."""
    blank: int
    """Texts of which it reads no word."""
    alike: tuple[str, str] | None
    """Two different texts that are one to it; None where there are none."""
    one: bool
    """Whether it reads the same of every image, of which there are several: nothing can be learned
    from them.
    """

    @property
    def lost(self) -> int:
        """By how many the texts become fewer."""
        return self.texts - self.told_apart


@dataclass(frozen=True)
class Heard:
    """What a text tower has of its captions: it reads no further than the longest of them, and
    knows no token that none of them had.
    """

    context: int
    """Tokens of the longest caption, start and end counted."""
    tokens: frozenset[str]

    @classmethod
    def of(cls, lists: Sequence[Sequence[str]], context: int = CONTEXT) -> Heard:
        """From the captions of each image, of which `context` tokens were read."""
        longest, known = 0, set[str]()
        for text in dict.fromkeys(text for own in lists for text in own):
            tokens = tokens_of(text, context)
            longest = max(longest, len(tokens))
            known.update(tokens)
        return cls(longest + 2, frozenset(known))

    def key(self, text: str) -> tuple[str, ...]:
        """What texts share that are one to it."""
        return tuple(
            token if token in self.tokens else "" for token in tokens_of(text, self.context)
        )


def tokens_of(text: str, context: int) -> list[str]:
    """The tokens between start and end that are read of a text."""
    words, _ = pieces_of(text)
    return [token for word in words for token in word_tokens(word)][: context - 2]


def pieces_of(text: str) -> tuple[list[str], bool]:
    """(the words of a text up to an end token in it, whether none stands behind that)"""
    words = words_of(text)
    if _END not in words:
        return words, True
    at = words.index(_END)
    return words[:at], at == len(words) - 1


def read(lists: Sequence[Sequence[str]], context: int = CONTEXT) -> Reading:
    """What a text tower reads of the texts of each image, at least one an image.

    Costs about 5 microseconds a different text, and ten times that where it holds other letters
    than ASCII's.
    """
    keys: dict[str, bytes] = {}
    first: dict[bytes, str] = {}
    cut = blank = 0
    alike: tuple[str, str] | None = None
    for text in dict.fromkeys(text for own in lists for text in own):
        key, whole = key_of(text, context)
        keys[text] = key
        cut += not whole
        blank += not key
        before = first.setdefault(key, text)
        if before != text and alike is None:
            alike = before, text
    return Reading(context, len(keys), cut, len(first), blank, alike, is_one(lists, keys))


def is_one(lists: Sequence[Sequence[str]], keys: dict[str, bytes]) -> bool:
    """Whether every image has the same set of keys."""
    number = len(set(keys.values()))
    if len(lists) < 2 or any(len(own) < number for own in lists):
        return False
    return all(len(set(map(keys.__getitem__, own))) == number for own in lists)


def token_key(text: str, context: int = CONTEXT) -> bytes:
    """What equal texts share: empty for one without a word, else a digest of what is read of it."""
    return key_of(text, context)[0]


def key_of(text: str, context: int) -> tuple[bytes, bool]:
    """(key, whether the text is read to its end)

    Words stand for their tokens, since no two have the same; only a text that reaches the end of
    the context is spelled out. A word has at most as many tokens as bytes.
    """
    pieces, whole = pieces_of(text)
    room = context - 2
    joined = " ".join(pieces)
    if len(joined.encode("utf-8", "surrogatepass")) - max(0, len(pieces) - 1) >= room:
        tokens = [token for piece in pieces for token in word_tokens(piece)]
        if len(tokens) >= room:
            whole = whole and len(tokens) == room
            joined = "\0" + " ".join(tokens[:room])
    digest = hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return (digest if joined else b""), whole


def words_of(text: str) -> list[str]:
    """The words that the tokenizer cuts a text into: runs of letters, single digits, runs of signs,
    in lower case.
    """
    if text.isascii() and text.isprintable() and "&" not in text:
        return _ASCII.findall(text.lower())
    found: list[str] = _any_letters().findall(_cleaned(text))
    return found


def _cleaned(text: str) -> str:
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


@lru_cache(maxsize=1)
def _any_letters() -> Any:
    import regex

    return regex.compile(_WORDS + r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)


@lru_cache(maxsize=1 << 18)
def word_tokens(word: str) -> tuple[str, ...]:
    """The tokens of one word, as CLIP's vocabulary writes them: its bytes, merged pair by pair in
    the order of the merges.
    """
    if word in ("<start_of_text>", _END):
        return (word,)
    letters, ranks = _vocabulary()
    symbols = [letters[byte] for byte in word.encode("utf-8", "surrogatepass")]
    symbols[-1] += "</w>"
    while len(symbols) > 1:
        pairs = set(pairwise(symbols))
        pair = min(pairs, key=lambda some: ranks.get(some, _MERGES + 1))
        if pair not in ranks:
            break
        merged, at = [], 0
        while at < len(symbols):
            here = tuple(symbols[at : at + 2]) == pair
            merged.append("".join(pair) if here else symbols[at])
            at += 2 if here else 1
        symbols = merged
    return tuple(symbols)


@lru_cache(maxsize=1)
def _vocabulary() -> tuple[dict[int, str], dict[tuple[str, str], int]]:
    """(how each byte is written, the rank of each merge)"""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain}
    letters |= {byte: chr(256 + number) for number, byte in enumerate(others)}
    found = find_spec("open_clip")
    if found is None or found.origin is None:
        raise InputError("open_clip is not installed, whose tokenizer captions go through")
    file = Path(found.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")[1 : _MERGES + 1]
    ranks: dict[tuple[str, str], int] = {}
    for rank, line in enumerate(lines):
        left, right = line.split()
        ranks[left, right] = rank
    return letters, ranks
