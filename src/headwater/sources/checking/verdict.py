"""Whether a copy is whole, from what it holds and what its recipe says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headwater.sources.checking.found import Found
from headwater.sources.formats import counted
from headwater.sources.recipes import KnownSet

LISTED = 0.01
"""The share of a list that may be untried, where the recipe says nothing: numbers of lists are
rounded, and lists are filtered by those who hand them out [ours].
"""
HALF = 0.5
"""Without img2dataset's statistics links that died cannot be told from shards that are missing: a
copy with less than this share of what there should be is called not whole [ours].
"""
BAD = 0.01
"""The share of sampled images that may be unreadable: a shard is written by one program, and what
it could not decode it left out [ours].
"""
_SHOWN = 5


@dataclass(frozen=True)
class Verdict:
    """Whether a copy is whole."""

    whole: bool
    reasons: tuple[str, ...]
    """Why it is not."""
    notes: tuple[str, ...]
    """What a person should know of it all the same."""


def verdict_of(recipe: KnownSet, found: Found) -> Verdict:
    """What is said of a copy."""
    reasons = tuple(_reasons(recipe, found))
    return Verdict(not reasons, reasons, tuple(_notes(recipe, found)))


def _reasons(recipe: KnownSet, found: Found) -> Iterator[str]:
    yield from found.faults[:_SHOWN]
    if len(found.faults) > _SHOWN:
        yield f"{len(found.faults) - _SHOWN:,} more faults like these"
    if found.missing_shards:
        first = ", ".join(found.first_missing[:_SHOWN])
        more = ", ..." if found.missing_shards > _SHOWN else ""
        yield f"missing: {counted(found.missing_shards, 'shard')}: {first}{more}"
    for fault, number in sorted(found.passed_over.items()):
        if fault != "a pickle":
            yield f"not read: {counted(number, 'member')}: {fault}"
    sampled = found.sampled
    if sampled is not None and sum(sampled.bad.values()) > BAD * sampled.images:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(sampled.bad.items()))
        yield (
            f"{sum(sampled.bad.values())} of {sampled.images} sampled images cannot be read "
            f"({kinds}): {', '.join(sampled.names)}"
        )
    yield from _numbers(recipe, found)


def _numbers(recipe: KnownSet, found: Found) -> Iterator[str]:
    whole = recipe.whole
    allowed = 0.0 if whole.tolerance is None else whole.tolerance.value
    if whole.images is not None:
        least, most = (round(whole.images.value * (1 + sign * allowed)) for sign in (-1, 1))
        if not least <= found.images <= most:
            yield f"{found.images:,} images, and the whole has {whole.images.value:,}"
    if whole.shards is not None and found.form == "shards":
        least = round(whole.shards.value * (1 - allowed))
        if found.shards < least:
            yield f"{found.shards:,} shards, and the whole has about {whole.shards.value:,}"
    if whole.classes is not None and found.classes < whole.classes.value:
        yield f"{found.classes:,} classes, and the whole has {whole.classes.value:,}"
    if whole.images is not None:
        return
    listed = recipe.images.value
    if found.tried is not None:
        untried = LISTED if whole.tolerance is None else allowed
        if found.tried < listed * (1 - untried):
            yield f"img2dataset has tried {found.tried:,} of {listed:,} lines of the list"
    elif found.images < HALF * recipe.expected_images:
        yield f"{found.images:,} images, and {recipe.expected_images:,} are expected of the list"


def _notes(recipe: KnownSet, found: Found) -> Iterator[str]:
    if found.form != recipe.form:
        yield f"this copy is {_FORMS[found.form]}; the recipe makes {_FORMS[recipe.form]}"
    if found.form == "shards" and found.tried is None and recipe.whole.images is None:
        yield (
            "without img2dataset's *_stats.json dead links cannot be told from shards that are "
            "missing at the end"
        )
    if found.tried:
        lost = 1 - found.images / found.tried
        yield f"of {found.tried:,} lines that were tried, {lost:.1%} gave no image"
    for used in recipe.used:
        yield f"arXiv {used.paper} had {used.value:,} images; this copy has {found.images:,}"
    pickles = found.passed_over.get("a pickle", 0)
    if pickles:
        yield f"{pickles:,} pickled members were passed over; nothing here is unpickled"
    if recipe.captions and found.captions is None:
        yield "no image has a caption here, and the set has them"


_FORMS = {"shards": "shards", "folder": "a folder of images", "parquet": "Parquet files"}
