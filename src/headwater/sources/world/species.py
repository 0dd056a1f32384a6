"""What lives in a generated world: codes, names and the words for them.

Pure functions of the world's seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater import keys

MEDIA = {"paint": "painting", "sketch": "sketch", "night": "night photo", "mosaic": "mosaic"}
"""How captions call a domain."""

TEMPLATES = (
    "a {medium} of a {family} {species}",
    "a {family} {species}, {medium}",
    "{medium} showing the {species}, a {family} creature",
    "this {family} animal is a {species}; {medium}",
    "one {species} ({family}) as seen in a {medium}",
)
"""Wordings of a caption."""

_NUMBERS = ("two", "three", "four", "five", "six", "seven")
_SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]


def variants(code: int) -> set[int]:
    """The 9-bit code (row-major, bit 8 the top left cell) and its images under horizontal flip,
    vertical flip and both (a half turn).
    """
    cells = np.array([int(bit) for bit in f"{code:09b}"]).reshape(3, 3)
    flips = (cells, cells[:, ::-1], cells[::-1], cells[::-1, ::-1])
    return {int("".join(map(str, flip.ravel())), 2) for flip in flips}


def codes(seed: int, count: int) -> NDArray[np.float32]:
    """float32 [count, 9] of 0 (black) and 1 (white), row-major: one code per species, in an order
    keyed by the seed.

    No code is a flip of another, and any two differ in at least two cells, because all weights are
    even. Weight 4 comes first, so up to 39 species have equal mean brightness.
    """
    chosen: list[int] = []
    for weight in (4, 6):
        orbits = sorted({min(variants(code)) for code in range(512) if code.bit_count() == weight})
        order = keys.permutation(
            keys.key(seed, "world codes"), keys.sample_hashes([str(code) for code in orbits])
        )
        chosen += [orbits[i] for i in order]
    bits = np.array(chosen[:count], dtype=np.int64)[:, None] >> np.arange(8, -1, -1)
    return (bits & 1).astype(np.float32)


def species_names(seed: int, count: int) -> list[str]:
    """Pronounceable, distinct names of three syllables; the first names do not depend on the
    count.
    """
    names: dict[str, None] = {}
    attempt = 0
    while len(names) < count:
        draw = np.asarray(
            keys.uniform(keys.key(seed, "world names"), keys.sample_hashes([str(attempt)]), 3)[0]
        )
        names["".join(_SYLLABLES[int(u * len(_SYLLABLES))] for u in draw)] = None
        attempt += 1
    return list(names)


def family_names(count: int) -> list[str]:
    """`two-lobed`, `three-lobed`, ..."""
    return [f"{number}-lobed" for number in _NUMBERS[:count]]


def order_of(family: int, families: int) -> str:
    """`few-lobed` for the lower half of the families (rounded up), else `many-lobed`."""
    return "few-lobed" if family < (families + 1) // 2 else "many-lobed"


def captions(species: str, family: str, domain: str, first: int, count: int) -> list[str]:
    """`count` captions after consecutive templates from number `first` on."""
    chosen = (TEMPLATES[(first + i) % len(TEMPLATES)] for i in range(count))
    return [
        template.format(medium=MEDIA[domain], family=family, species=species) for template in chosen
    ]
