"""What tars of images hold, beside what img2dataset told of each."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.sources.checking.found import Captions, Found, Sample
from headwater.sources.formats import is_image
from headwater.sources.members import Member, members

STATISTICS = "_stats.json"
_MOST_TEXT = 1 << 20
"""1 MiB of a text or of img2dataset's statistics: far above any caption [ours]."""
_SHOWN = 10
"""Missing shards, and faults, that are named."""
_NUMBER = re.compile(r"^(.*?)(\d{1,18})$")


@dataclass
class _Read:
    """What one tar holds."""

    images: int = 0
    classes: set[str] = field(default_factory=set)
    passed_over: Counter[str] = field(default_factory=Counter)


def read_shards(
    root: Path,
    names: Sequence[str],
    found: Found,
    drawn: Sample,
    captions: Captions,
    numbered_from: int | None,
) -> None:
    """Reads all tars among the files `names` of a copy into `found`."""
    tars = [name for name in names if name.lower().endswith(".tar")]
    told = {
        name.removesuffix(STATISTICS): _statistics(root / name, found)
        for name in names
        if name.endswith(STATISTICS)
    }
    classes: set[str] = set()
    passed: Counter[str] = Counter()
    for name in tars:
        read = _Read()
        try:
            _read_tar(root / name, name, read, drawn, captions)
        except InputError as error:
            found.faults.append(str(error))
        found.images += read.images
        classes |= read.classes
        passed += read.passed_over
        if told:
            _compare(name, read.images, told, found)
    found.shards, found.classes = len(tars), len(classes)
    found.passed_over = dict(passed)
    own = [name[: -len(".tar")] for name in tars]
    found.missing_shards, found.first_missing = _missing(own, list(told), numbered_from)
    counts = [stats["count"] for stats in told.values() if stats]
    found.tried = sum(counts) if counts else None


def _read_tar(path: Path, name: str, read: _Read, drawn: Sample, captions: Captions) -> None:
    """Samples are members of one key that follow one another."""
    key: str | None = None
    sample: list[Member] = []
    texts: dict[str, str] = {}

    def end() -> None:
        if any(is_image(f"x{member.ending}") for member in sample):
            read.images += 1
            captions.add(texts.get(".txt", texts.get(".json")))
            if ".cls" in texts:
                read.classes.add(texts[".cls"].strip())

    for member in members(path):
        if member.fault is not None:
            read.passed_over[member.fault] += 1
            continue
        if member.key != key:
            end()
            key, sample, texts = member.key, [], {}
        sample.append(member)
        if is_image(f"x{member.ending}"):
            if drawn.wants(f"{name}/{member.name}", member.size):
                drawn.add(f"{name}/{member.name}", member.read(member.size))
        elif member.ending in (".txt", ".json", ".cls") and member.size <= _MOST_TEXT:
            text = _text(member)
            if text is not None:
                texts[member.ending] = text
    end()


def _text(member: Member) -> str | None:
    """The text of a member; of JSON its `caption`."""
    try:
        text = member.read(_MOST_TEXT).decode("utf-8")
        if member.ending != ".json":
            return text
        caption = json.loads(text).get("caption")
        return caption if isinstance(caption, str) else None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, AttributeError):
        return None


def _statistics(path: Path, found: Found) -> Mapping[str, int] | None:
    """`count` and `successes` of img2dataset's statistics of a shard."""
    try:
        value: Any = json.loads(path.read_bytes()[: _MOST_TEXT + 1])
        stats = {key: value[key] for key in ("count", "successes")}
        if all(type(number) is int and 0 <= number < 10**12 for number in stats.values()):
            return stats
        reason = "its numbers are none"
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        reason = "cannot be read"
    found.faults.append(f"{path.name}: are no statistics of img2dataset: {reason}")
    return None


def _compare(
    name: str, images: int, told: Mapping[str, Mapping[str, int] | None], found: Found
) -> None:
    own = name[: -len(".tar")]
    if own not in told:
        found.faults.append(f"{name}: has no {own}{STATISTICS}: it was not written to its end")
        return
    stats = told[own]
    if stats is not None and stats["successes"] != images:
        found.faults.append(
            f"{name}: has {images:,} images, and its statistics say {stats['successes']:,}"
        )


def _missing(
    own: Sequence[str], told: Sequence[str], numbered_from: int | None
) -> tuple[int, tuple[str, ...]]:
    """How many shards are missing, and the first of them: gaps in the numbers of each series, and
    shards of which there are only statistics.
    """
    number, first = 0, list[str]()
    series: dict[str, list[str]] = {}
    for name in {*own, *told}:
        match = _NUMBER.match(name)
        if match:
            series.setdefault(match[1], []).append(match[2])
    there = set(own)
    for prefix, digits in sorted(series.items()):
        width = min(map(len, digits))
        numbers = sorted(set(map(int, digits)))
        before = numbers[0] - 1 if numbered_from is None else numbered_from - 1
        for each in numbers:
            number += max(0, each - before - 1)
            some = range(before + 1, min(each, before + 1 + _SHOWN))
            first += [f"{prefix}{gap:0{width}d}.tar" for gap in some]
            before = each
    lost = sorted(name for name in told if name not in there)
    return number + len(lost), tuple([*first, *(f"{name}.tar" for name in lost)][:_SHOWN])
