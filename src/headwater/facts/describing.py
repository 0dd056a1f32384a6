"""What sources are: images, bytes, formats, sizes, captions, copies, and what they share with the
test images of a study's tasks, as plain values.

Nothing is computed of more than a sample where there is more; sizes are read from headers, and
images are decoded small, one block at a time.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from headwater.curation import Looks
from headwater.curation.scale import (
    Seen,
    Watch,
    confirmed,
    connected,
    near_hash_tests,
    near_hashes_mirrored,
    seen_of,
)
from headwater.facts import languages
from headwater.facts.folders import opened_folder
from headwater.plan import Plan
from headwater.plan.images import of_splits

SAMPLE = 20_000
"""Images of a source that are looked at where nobody says how many [ours]."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def study_description(
    plan: Plan, *, sample: int = SAMPLE, seed: int = 0, watch: Watch | None = None
) -> dict[str, Any]:
    """Every source of an opened study, and what it shares with the test images of its tasks.

    Raises InputError for a sample of less than 1.
    """
    tests = _tests(plan, sample, seed, watch)
    sources = []
    for name in plan.study.sources:
        source = plan.sources[plan.study.sources[name].data]
        seen = seen_of(name, source, of_splits(plan.resolved, name), sample, seed, watch)
        leaks = [] if source.generated else _leaks(seen, tests)
        sources.append(_facts(name, seen) | {"tasks": leaks})
    return {"study": plan.study.study, "folder": None, "sample": sample, "sources": sources}


def _tests(plan: Plan, sample: int, seed: int, watch: Watch | None) -> dict[str, Seen]:
    """The test images of every task; tasks that share them share what was looked at."""
    known: dict[tuple[int, bytes], Seen] = {}
    tests = {}
    for name, task in plan.tasks.items():
        if task.source.generated:
            continue
        key = (id(task.source), task.test.tobytes())
        if key not in known:
            known[key] = seen_of(f"task {name}", task.source, task.test, sample, seed, watch)
        tests[name] = known[key]
    return tests


def folder_description(
    folder: Path,
    *,
    layout: str | None = None,
    follow_links: bool = False,
    sample: int = SAMPLE,
    seed: int = 0,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """All images of a folder.

    Raises InputError for a folder that cannot be read, and for a sample of less than 1.
    """
    source = opened_folder(folder, layout=layout, follow_links=follow_links)
    name = folder.resolve().name
    seen = seen_of(name, source, np.arange(len(source.table)), sample, seed, watch)
    facts = _facts(name, seen) | {"tasks": []}
    return {"study": None, "folder": str(folder), "sample": sample, "sources": [facts]}


def _facts(name: str, seen: Seen) -> dict[str, Any]:
    sizes = np.array([header.size for header in seen.headers], dtype=np.int64)
    formats = Counter(header.format for header in seen.headers)
    table = seen.source.table
    return {
        "source": name,
        "images": seen.num,
        "looked_at": len(seen.looked),
        "unreadable": len(seen.looked) - len(seen.readable),
        "generated": seen.source.generated,
        "bytes": int(sizes.sum()),
        "formats": dict(sorted(formats.items(), key=lambda each: (-each[1], each[0]))),
        "width": quantiles([header.width for header in seen.headers]),
        "height": quantiles([header.height for header in seen.headers]),
        "captions": [
            _captions(field, list(table.texts[field][seen.looked])) for field in table.texts
        ],
        "copies": None if seen.source.generated else _copies(seen),
        "notes": list(seen.source.notes),
    }


def quantiles(values: Sequence[int]) -> dict[str, float] | None:
    """By share of the values that are at most as large; None of nothing."""
    if not len(values):
        return None
    found = np.quantile(np.asarray(values), QUANTILES, method="inverted_cdf")
    return {f"{share:g}": float(value) for share, value in zip(QUANTILES, found, strict=True)}


# captions
def _captions(field: str, lists: list[list[str]]) -> dict[str, Any]:
    texts = [text for some in lists for text in some if text.strip()]
    without = sum(not "".join(some).strip() for some in lists)
    counts = Counter(script_of(text) for text in texts)
    return {
        "field": field,
        "without": without,
        "images": len(lists),
        "texts": len(texts),
        "different": len(set(texts)),
        "words": quantiles([len(text.split()) for text in texts]),
        "characters": quantiles([len(text) for text in texts]),
        "scripts": dict(sorted(counts.items(), key=lambda each: (-each[1], each[0]))),
        "languages": languages.counted(texts),
    }


_NAMES = {"CJK": "Han", "HIRAGANA": "kana", "KATAKANA": "kana"}
NO_LETTERS = "no letters"


def script_of(text: str) -> str:
    """The script of most letters of a text (Latin, Cyrillic, Han, kana, ...), by the names that
    Unicode gives them; of as many the one that comes first.
    """
    counts = Counter(_script(letter) for letter in text if letter.isalpha())
    return counts.most_common(1)[0][0] if counts else NO_LETTERS


@cache
def _script(letter: str) -> str:
    first = unicodedata.name(letter, "other").split()[0]
    return _NAMES.get(first, first.capitalize())


# copies
def _copies(seen: Seen) -> dict[str, Any]:
    """Equal files, and images that look the same, among those that were looked at."""
    digests = seen.source.digests(seen.readable)
    pairs = near_hashes_mirrored(seen.hashes)
    images = Looks(seen.images)
    found = confirmed(images, images, pairs)
    return {
        "equal_files": len(digests) - len(np.unique(digests)),
        "near": int(connected(found).flagged.sum()),
        "near_hashes": int(pairs.flagged.sum()),
    }


def _leaks(seen: Seen, tests: dict[str, Seen]) -> list[dict[str, Any]]:
    found = near_hash_tests(seen.hashes, {name: test.hashes for name, test in tests.items()})
    images = Looks(seen.images)
    records = []
    for name, test in tests.items():
        matches = confirmed(images, Looks(test.images), found[name])
        equal = np.isin(test.source.digests(test.readable), seen.source.digests(seen.readable))
        records.append(
            {
                "task": name,
                "test_images": test.num,
                "looked_at": len(test.looked),
                "equal_files": int(equal.sum()),
                "flagged": int((matches.flagged | equal).sum()),
            }
        )
    return records
