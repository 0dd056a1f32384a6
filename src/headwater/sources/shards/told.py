"""What others' indexes beside shards say of them: how many samples each has. Our own index is made
from the shards themselves, so theirs serve to find a shard that is not whole.

    index.json              wids: {"shardlist": [{"url": "00000.tar", "nsamples": 10000}, ...]}
    .nv-meta/.info.json     energon: {"shard_counts": {"00000.tar": 10000, ...}}
    00000.idx               wds2idx (DALI): "v1.2 10000" on its first line
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_MOST_BYTES = 64 << 20
_DALI = re.compile(r"v\d+\.\d+ (\d{1,12})\s")


def notes_on_counts(root: Path, held: Mapping[str, int]) -> list[str]:
    """Where another index says another number of samples than a shard has; `held` are samples by
    the name of a shard, without its ending.
    """
    notes = []
    for index, counts in _counts(root, held):
        wrong = {name: count for name, count in counts.items() if held.get(name, count) != count}
        if wrong:
            name = sorted(wrong)[0]
            more = f" ({len(wrong):,} such shards)" if len(wrong) > 1 else ""
            notes.append(
                f"{index} says that {name}.tar has {wrong[name]:,} samples, and it has "
                f"{held[name]:,}{more}: one of the two is not whole"
            )
    return notes


def _counts(root: Path, held: Mapping[str, int]) -> Iterator[tuple[str, dict[str, int]]]:
    """(a file, samples by the name of a shard that it says)"""
    said = _read(root / "index.json")
    listed = said.get("shardlist")
    if isinstance(listed, list):
        pairs = {}
        for each in listed:
            if isinstance(each, dict):
                pairs[str(each.get("url"))] = each.get("nsamples")
        yield "index.json", _whole_numbers(pairs)
    counted = _read(root / ".nv-meta" / ".info.json").get("shard_counts")
    if isinstance(counted, dict):
        yield ".nv-meta/.info.json", _whole_numbers(counted)
    by_dali = {}
    for name in held:
        try:
            with (root / f"{name}.idx").open("rb") as file:
                found = _DALI.match(file.read(64).decode("latin-1"))
        except OSError:
            continue
        if found is not None:
            by_dali[f"{name}.tar"] = int(found.group(1))
    if by_dali:
        yield "its .idx file", _whole_numbers(by_dali)


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none that can be read."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return {}
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _whole_numbers(counts: Mapping[str, Any]) -> dict[str, int]:
    """By name without the ending `.tar`."""
    return {
        name.removesuffix(".tar"): count
        for name, count in counts.items()
        if isinstance(count, int) and not isinstance(count, bool)
    }
