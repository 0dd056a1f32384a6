"""Images of a study that cannot be read, found before anything is drawn: sources and tasks that are
broken by them, or what is left out (`on_bad_images`, docs/inputs.md).
"""

from __future__ import annotations

import shutil
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from headwater.errors import InputError, Location
from headwater.sources import Positions, Source
from headwater.sources.looking import Looked, Looking, look, named
from headwater.sources.pixels.conversions import conversion_sentences
from headwater.sources.pixels.kept import Kept
from headwater.sources.positions import ascending
from headwater.study import Study


@dataclass(frozen=True)
class Fault:
    """A source or a task that nothing is computed with, and why."""

    axis: str
    """`sources` or `tasks`."""
    name: str
    reason: str
    at: Location

    @property
    def title(self) -> str:
        return f"{self.axis.removesuffix('s')} {self.name!r}"


@dataclass(frozen=True)
class Seen:
    """What looking at a study's images found."""

    source_kinds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By source, what is wrong with the images that are left out of it, counted."""
    task_kinds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By task, the same."""
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    kept: Mapping[str, Mapping[int, Kept]] = field(default_factory=dict)
    """By data, where pixels are kept that were decoded on the way."""


@dataclass(frozen=True)
class _Use:
    """A source or a task, and the images that it would have."""

    axis: str
    name: str
    positions: Positions


def see_images(
    study: Study,
    sources: Mapping[str, Source],
    positions_of: Callable[[str, str], Positions],
    looking: Looking,
) -> Seen:
    """Looks at the images of every source and task of a study, and takes those that cannot be read
    out of the splits of `sources`.

    `positions_of(axis, name)` are the images of one. With `on_bad_images: skip` everything is
    opened, whatever `looking` says: what is drawn depends on it. Raises InputError as
    `headwater.sources.looking.look` does.
    """
    if study.on_bad_images == "skip":
        looking = replace(looking, most=None)
    kinds: dict[str, dict[str, Mapping[str, int]]] = {"sources": {}, "tasks": {}}
    faults: list[Fault] = []
    notes: list[str] = []
    kept: dict[str, Mapping[int, Kept]] = {}
    spool = None if looking.spool is None else looking.spool / f".looked-{uuid.uuid4().hex}.tmp"
    for number, (data, source) in enumerate(sources.items()):
        uses = list(_uses(study, data, positions_of))
        if not uses:
            continue
        used = ascending(np.concatenate([use.positions for use in uses]))
        own = replace(looking, spool=None if spool is None else spool / str(number))
        looked = look(source, used, study.image_size, own)
        kept[data] = looked.kept
        notes += _notes(study, data, source, looked, len(used))
        if not looked.bad:
            continue
        _take_out(source, looked)
        reason = _reason(study, data, source, looked, len(used))
        for use in uses:
            counts = Counter(
                looked.bad[position]
                for position in use.positions.tolist()
                if position in looked.bad
            )
            if counts:
                kinds[use.axis][use.name] = dict(sorted(counts.items()))
            if counts and reason is not None:
                faults.append(Fault(use.axis, use.name, reason, ("data", data)))
    seen = Seen(kinds["sources"], kinds["tasks"], tuple(faults), tuple(notes), kept)
    if spool is not None:
        weakref.finalize(seen, shutil.rmtree, spool, ignore_errors=True)
    return seen


def without(study: Study, faults: tuple[Fault, ...]) -> Study:
    """The study without the sources and tasks that are broken."""
    broken = {(fault.axis, fault.name) for fault in faults}
    if not broken:
        return study
    sources = {name: use for name, use in study.sources.items() if ("sources", name) not in broken}
    tasks = {name: use for name, use in study.tasks.items() if ("tasks", name) not in broken}
    weights = {name: each for name, each in study.decide.weights.items() if name in tasks}
    decide = study.decide.model_copy(update={"weights": weights})
    return study.model_copy(update={"sources": sources, "tasks": tasks, "decide": decide})


def told_faults(faults: tuple[Fault, ...]) -> list[str]:
    """A sentence for each reason: who is not computed with, and why."""
    of_reason: dict[str, list[str]] = {}
    for fault in faults:
        of_reason.setdefault(fault.reason, []).append(fault.title)
    return [
        f"nothing is computed with {' and '.join(titles)}: {reason}"
        for reason, titles in of_reason.items()
    ]


def refuse(faults: tuple[Fault, ...]) -> InputError:
    """The error of a study of which the faults leave nothing to compute."""
    reasons = dict.fromkeys(fault.reason for fault in faults)
    return InputError("; ".join(reasons), at=faults[0].at)


def _uses(study: Study, data: str, positions_of: Callable[[str, str], Positions]) -> Iterator[_Use]:
    """The sources and tasks of a data set whose images can be named; others are refused later."""
    for axis, uses in (("sources", study.sources), ("tasks", study.tasks)):
        for name, use in uses.items():
            if use.data != data:
                continue
            try:
                yield _Use(axis, name, positions_of(axis, name))
            except InputError:  # a split or a column that is not there, say
                continue


def _take_out(source: Source, looked: Looked) -> None:
    """Takes images out of every split."""
    bad = np.fromiter(looked.bad, dtype=np.int64)
    splits = {}
    for column, values in source.table.splits.items():
        splits[column] = values.copy()
        splits[column][bad] = ""
    source.table = replace(source.table, splits=splits)


def _reason(study: Study, data: str, source: Source, looked: Looked, images: int) -> str | None:
    """Why the sources and tasks of a data set are broken; None where what is bad is left out."""
    bad = len(looked.bad)
    share = bad / images
    what = f"data.{data}: {bad:,} of {images:,} images ({share:.2%}) cannot be read"
    of_kinds = named(source, looked)
    if study.on_bad_images == "error":
        return f"{what}: {of_kinds}; mend or remove them, or leave them out: `on_bad_images: skip`"
    if share <= study.max_bad_share:
        return None
    return (
        f"{what}, more than `max_bad_share: {study.max_bad_share:g}` lets be left out: {of_kinds}; "
        "mend or remove them, or raise max_bad_share"
    )


def _notes(study: Study, data: str, source: Source, looked: Looked, images: int) -> Iterator[str]:
    if looked.unopened:
        yield (
            f"{looked.unopened:,} of the {images:,} images of {data} have not been opened yet; "
            "`headwater plan --verify` opens them, and `headwater run` does before it trains"
        )
    for sentence in conversion_sentences(looked.converted, images):
        yield f"data {data}: {sentence}"
    if looked.bad and study.on_bad_images == "skip":
        share = len(looked.bad) / images
        if share <= study.max_bad_share:
            yield (
                f"data {data}: left out, since they cannot be read: {len(looked.bad):,} of "
                f"{images:,} images ({share:.2%}); {named(source, looked)}"
            )
