"""A source's files looked at: what is remembered, what must be opened, what is bad."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.machine import cores
from headwater.sources import BadImage, Positions, Source
from headwater.sources.file_state import STATE, State, settle, state_of, state_of_bytes
from headwater.sources.looking.judges import Asked, Files, Inside, judged
from headwater.sources.looking.verdicts import Verdict, Verdicts
from headwater.sources.pixels import estimated_bytes
from headwater.sources.pixels.conversions import counted
from headwater.sources.pixels.judging import (
    EMPTY,
    MISSING,
    NO_FILE,
    kind_of,
    lasting,
)
from headwater.sources.pixels.kept import Kept

AT_ONCE = 2000
"""Files that are opened without being asked for: a second or two [ours]."""
SHOWN = 10
_SAVE_EVERY_S = 60.0
_ASKED_TOGETHER = 1 << 16
_SPOOL_SHARE = 0.2
"""Of what is free on the disk: the estimate can be three times too low [ours]."""

Watch = Callable[[str, int, int, int], object]
"""Hears of a look: the source's name, files opened, files to open, bad ones among them."""


@dataclass(frozen=True)
class Looking:
    """How closely images are looked at."""

    most: int | None = 0
    """Files that are opened where they are not known, if there are no more; None opens all."""
    workers: int | None = None
    """Processes that decode; one per core when left out."""
    watch: Watch = lambda name, done, total, bad: None
    spool: Path | None = None
    """A folder that keeps the pixels of what was decoded, where they fit: twice beside the cache
    that takes them up.
    """


A_FEW, EVERYTHING = Looking(most=AT_ONCE), Looking(most=None)


@dataclass(frozen=True)
class Looked:
    """What a look at some images of a source found."""

    bad: Mapping[int, str]
    """By position: what is wrong with a file."""
    unopened: int = 0
    """Files that nothing is known of, since there are too many to open them without being asked."""
    converted: Mapping[str, int] = field(default_factory=dict)
    """What decoding does to images that can be read (headwater.sources.pixels.conversions): how
    many, by word. Of files alone, and of those that something is known of.
    """
    kept: Mapping[int, Kept] = field(default_factory=dict)
    """By position: pixels that are on disk since the look."""


def look(
    source: Source, positions: Positions, image_size: int, looking: Looking = EVERYTHING
) -> Looked:
    """Looks at some images of a source: files, or encoded images in files of many. Images that the
    source makes, or keeps as pixels, are not looked at.

    Files that are missing, empty or no files at all are found without opening any; what earlier
    looks found is remembered in `source.verdicts`. Raises InputError for a link that leads out of
    the source.
    """
    if not len(positions) or source.generated:
        return Looked({})
    parts = list(source.divided(positions))
    if parts[0][0] is not source:
        return _of_parts(parts, positions, image_size, looking)
    if source.file(int(positions[0])) is None:
        return _look_inside(source, positions, image_size, looking)
    verdicts, known = Verdicts(source.verdicts), dict[int, Verdict]()
    unknown, paths = list[tuple[int, State]](), list[str]()
    for position in positions.tolist():
        path, sample = source.file(position), source.table.ids[position]
        assert path is not None
        try:
            status = os.stat(path)
        except OSError as error:
            known[position] = Verdict(kind_of(error))
            continue
        state = state_of(status)
        verdict = _at_sight(status) or verdicts.of(sample, state)
        if verdict is None:
            unknown.append((position, state))
            paths.append(path)
        else:
            known[position] = verdict
    if looking.most is not None and len(unknown) > looking.most:
        return _looked(known, unopened=len(unknown))
    settle(max((state[STATE.index("ctime_ns")] for _, state in unknown), default=0))
    kept = _opened(source, unknown, Files(paths), image_size, looking, verdicts, known)
    return _looked(known, kept=kept)


def _of_parts(
    parts: Sequence[tuple[Source, Positions, Positions]],
    positions: Positions,
    image_size: int,
    looking: Looking,
) -> Looked:
    """`look` at the parts of a source that is made of others: what is known of a part is known of
    all that is made of it.
    """
    bad: dict[int, str] = {}
    kept: dict[int, Kept] = {}
    unopened, converted = 0, Counter[str]()
    for number, (part, rows, own) in enumerate(parts):
        spool = None if looking.spool is None else looking.spool / str(number)
        found = look(part, own, image_size, replace(looking, spool=spool))
        places = dict(zip(own.tolist(), positions[rows].tolist(), strict=True))
        bad |= {places[at]: kind for at, kind in found.bad.items()}
        kept |= {places[at]: one for at, one in found.kept.items()}
        unopened += found.unopened
        converted.update(found.converted)
    counts = dict(sorted(converted.items(), key=lambda pair: (-pair[1], pair[0])))
    return Looked(dict(sorted(bad.items())), unopened, counts, kept)


def _look_inside(source: Source, positions: Positions, image_size: int, looking: Looking) -> Looked:
    """`look` at images that lie in files of many: known by the digests of their bytes, which a plan
    asks for anyhow.
    """
    if isinstance(_first_image(source, positions), np.ndarray):
        return Looked({})
    verdicts, known = Verdicts(source.verdicts), dict[int, Verdict]()
    few = looking.most is None or len(positions) <= looking.most
    if not few and not len(verdicts):  # nothing is known of a set of millions
        return _looked(known, unopened=len(positions))
    unknown: list[tuple[int, State]] = []
    for start in range(0, len(positions), _ASKED_TOGETHER):
        part = positions[start : start + _ASKED_TOGETHER]
        ids, digests = source.table.ids[part], source.digests(part).astype("U").tolist()
        for position, sample, digest in zip(part.tolist(), ids, digests, strict=True):
            state = state_of_bytes(digest)
            verdict = verdicts.of(sample, state)
            if verdict is None:
                unknown.append((position, state))
            else:
                known[position] = verdict
    if looking.most is not None and len(unknown) > looking.most:
        return _looked(known, unopened=len(unknown))
    asked = Inside(len(unknown), lambda number: _inside(source, unknown[number][0]))
    kept = _opened(source, unknown, asked, image_size, looking, verdicts, known)
    return _looked(known, kept=kept)


def _first_image(source: Source, positions: Positions) -> bytes | NDArray[np.uint8] | None:
    try:
        return source.image(int(positions[0]))
    except BadImage:  # which is found with the others
        return None


def _inside(source: Source, position: int) -> bytes | str:
    """An image's bytes, or what is wrong with it."""
    try:
        data = source.image(position)
    except BadImage as error:
        return error.kind
    assert isinstance(data, bytes)
    return data


def _looked(
    known: Mapping[int, Verdict], *, unopened: int = 0, kept: Mapping[int, Kept] | None = None
) -> Looked:
    bad = {position: known[position].kind for position in sorted(known) if known[position].kind}
    converted = counted(verdict.converted for verdict in known.values())
    return Looked(bad, unopened, converted, kept or {})


def _opened(
    source: Source,
    unknown: Sequence[tuple[int, State]],
    asked: Asked,
    image_size: int,
    looking: Looking,
    verdicts: Verdicts,
    known: dict[int, Verdict],
) -> dict[int, Kept]:
    """Opens images; what is found goes to `known`. Where their pixels are kept."""
    if not unknown:
        return {}
    workers = looking.workers or cores()
    spool = looking.spool if _fits(looking.spool, len(unknown), image_size) else None
    kept: dict[int, Kept] = {}
    done, saved, bad = 0, time.monotonic(), 0
    looking.watch(source.name, 0, len(unknown), 0)
    try:
        for found in judged(asked, image_size, workers=workers, spool=spool):
            position, state = unknown[found.number]
            verdict = Verdict(found.kind or "", found.converted)
            known[position] = verdict
            bad += bool(verdict.kind)
            if found.kept is not None:
                kept[position] = found.kept
            if not verdict.kind or lasting(verdict.kind):
                verdicts.put(source.table.ids[position], state, verdict)
            done += 1
            looking.watch(source.name, done, len(unknown), bad)
            if time.monotonic() - saved > _SAVE_EVERY_S:
                verdicts.save()
                saved = time.monotonic()
    finally:
        verdicts.save()
    return kept


def _fits(folder: Path | None, images: int, image_size: int) -> bool:
    """Whether pixels of so many images may lie in a folder for a while."""
    if folder is None or os.environ.get("HEADWATER_CACHE_GB") is not None:
        return False
    there = next(parent for parent in folder.absolute().parents if parent.exists())
    return estimated_bytes(images, image_size) <= _SPOOL_SHARE * shutil.disk_usage(there).free


def _at_sight(status: os.stat_result) -> Verdict | None:
    """What is wrong with a file that need not be opened for it."""
    if not stat.S_ISREG(status.st_mode):
        return Verdict(NO_FILE)
    return None if status.st_size else Verdict(EMPTY)


def named(source: Source, looked: Looked) -> str:
    """The bad images of a look by what is wrong, as `told_kinds`; those that are not there with the
    line that lists them.
    """
    pairs = []
    for position, kind in sorted(looked.bad.items()):
        listed = source.listed(position) if kind == MISSING else None
        name = repr(source.table.ids[position]) + (f", listed in {listed}" if listed else "")
        pairs.append((name, kind))
    return told_kinds(pairs)


def told_kinds(bad: Iterable[tuple[str, str]]) -> str:
    """Bad images by what is wrong, of (name, kind) of each: 'cut short: 2 (a/1.jpg, b/2.jpg);
    empty file: 1 (a/4.jpg)'. Ten are named at most.
    """
    pairs = list(bad)
    counts = Counter(kind for _, kind in pairs)
    kinds = sorted(counts, key=lambda kind: (-counts[kind], kind))
    of_kind: dict[str, list[str]] = {kind: [] for kind in kinds}
    for name, kind in pairs:
        of_kind[kind].append(name)
    shown: dict[str, list[str]] = {kind: [] for kind in kinds}
    room = SHOWN
    while room > 0 and any(len(shown[kind]) < counts[kind] for kind in kinds):
        for kind in kinds:
            if room > 0 and len(shown[kind]) < counts[kind]:
                shown[kind].append(of_kind[kind][len(shown[kind])])
                room -= 1
    return "; ".join(_told_kind(kind, counts[kind], shown[kind]) for kind in kinds)


def _told_kind(kind: str, count: int, names: list[str]) -> str:
    more = ", ..." if count > len(names) else ""
    return f"{kind}: {count:,}" + (f" ({', '.join(names)}{more})" if names else "")
