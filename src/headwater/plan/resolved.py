"""What the words of a study point to: its sources and tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from headwater import recipes
from headwater.errors import InputError, blamed_on
from headwater.labels import distinct_views, resolve_view
from headwater.labels.hierarchies import open_hierarchy
from headwater.objects import address_of
from headwater.plan.missing import check_there
from headwater.plan.places import placed, with_placed_views
from headwater.plan.splits import of_source, of_task, parts_first
from headwater.plan.unreadable import Fault, Seen, refuse, see_images, without
from headwater.sources import Positions, Source, open_source
from headwater.sources.looking import Looking
from headwater.study import Study
from headwater.tasks import Task, resolve_task


@dataclass(frozen=True)
class Resolved:
    """A study, its sources and its tasks. Tables were read; images were looked at as far as was
    asked for.
    """

    study: Study
    data_root: Path | None
    sources: Mapping[str, Source]
    """By the name that the study's `data` gives them."""
    tasks: Mapping[str, Task]
    asked: Study
    """The study as it was asked for; `study` is without the sources and tasks that are broken."""
    seen: Seen = field(default_factory=Seen)
    """What looking at the images found."""
    faults: tuple[Fault, ...] = ()
    """Sources and tasks that nothing is computed with."""

    def source_of(self, name: str) -> Source:
        """The data behind an entry of the study's `sources`."""
        return self.sources[self.study.sources[name].data]


def resolve_study(
    study: Study, data_root: Path | None, cache: Path | None, looking: Looking | None = None
) -> Resolved:
    """Open a study's data. `data_root` is where folders are looked for, `cache` where byte hashes
    and verdicts on images are remembered; images are not looked at where `looking` is None.

    Sources and tasks whose images cannot be read, or whose splits cannot serve, are left out and
    told (`Resolved.faults`). Raises InputError for what the tables alone can tell to be wrong, and
    where faults leave no task or no source.
    """
    check_there(study, data_root)
    study = with_placed_views(study, data_root)
    _check_words(study, data_root)
    sources = _opened_sources(study, data_root, cache)
    if cache is not None:
        for name, source in sources.items():
            _check_outside(cache.parent, getattr(source, "root", None), name)
    _check_online_probe(study, data_root)
    every = Resolved(study, data_root, sources, {}, study)
    seen = Seen()
    if looking is not None:
        seen = see_images(study, sources, lambda axis, name: _images_of(every, axis, name), looking)
    faults = [*seen.faults, *_empty_sources(every, seen.faults)]
    sound = without(study, tuple(faults))
    tasks, broken = _opened_tasks(sound, sources, data_root)
    faults += broken
    if faults:
        sound = without(study, tuple(faults))
        if not sound.tasks or (study.sources and not sound.sources):
            raise refuse(tuple(faults))
    return replace(every, study=sound, tasks=tasks, seen=seen, faults=tuple(faults))


def _images_of(resolved: Resolved, axis: str, name: str) -> Positions:
    """All images of a source's or a task's splits, ascending."""
    study = resolved.study
    if axis == "sources":
        return of_source(study, resolved.source_of(name), name)
    return of_task(study, resolved.sources[study.tasks[name].data], name)


def _empty_sources(resolved: Resolved, known: tuple[Fault, ...]) -> list[Fault]:
    """Sources of which a split holds no image, beside those whose faults are known."""
    broken = {fault.name for fault in known if fault.axis == "sources"}
    faults = []
    for name in resolved.study.sources:
        if name in broken:
            continue
        try:
            of_source(resolved.study, resolved.source_of(name), name)
        except InputError as error:
            faults.append(Fault("sources", name, str(error), error.at or ("sources", name)))
    return faults


def check_store(study: Study, store: Path, data_root: Path | None) -> None:
    """Raises InputError, with the study's line, for a store that lies in a folder of images of the
    study: what a run writes would be read as data by the next one. It need not exist.
    """
    if address_of(store) is not None:
        return
    with study.located():
        for name in study.data:
            written = getattr(placed(study, name, data_root), "path", None)
            if written is None:
                continue
            try:
                folder = ((data_root or Path()) / Path(written).expanduser()).resolve()
            except (RuntimeError, OSError, ValueError):  # opening it will say what is wrong
                continue
            _check_outside(store, folder, name)


def _check_outside(store: Path, folder: Path | None, name: str) -> None:
    if folder is not None and store.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"data.{name}: the store {store} lies inside this folder of images ({folder}), where "
            "what a run writes would be taken for data; name another with --store",
            at=("data", name),
        )


def task_fingerprint(task: Task) -> str:
    """Digest of a task's images, labels and splits. It hashes the images' bytes."""
    digest = hashlib.sha256("\x1f".join(task.class_names).encode())
    for positions in (task.train, task.val, task.test):
        digest.update(task.source.fingerprint(positions).encode())
        digest.update(task.labels[positions].astype("<i8").tobytes())
        if task.source.table.hard is not None:
            digest.update(task.source.table.hard[positions].tobytes())
    return digest.hexdigest()[:32]


def _check_words(study: Study, data_root: Path | None) -> None:
    for method in study.methods:
        recipes.resolve(study, method)
    for name in study.views:
        resolve_view(name, study.views, data_root)
    distinct_views(study.labels, ("labels",), study.views)
    for name, use in study.sources.items():
        distinct_views(use.labels or (), ("sources", name, "labels"), study.views)


def _opened_sources(study: Study, data_root: Path | None, cache: Path | None) -> dict[str, Source]:
    """The data that some source or task uses, and what these are made of, by name; what a mix or a
    view is made of comes before it.
    """
    used = {use.data for use in study.sources.values()}
    used |= {use.data for use in study.tasks.values()}
    opened: dict[str, Source] = {}
    for name in parts_first(study, used):
        with blamed_on("data", name, "path"):
            words = placed(study, name, data_root)
            parts = {part: opened[part] for part in words.parts().values()}
            opened[name] = open_source(name, words, data_root=data_root, cache=cache, parts=parts)
        hierarchy = opened[name].table.hierarchy
        if hierarchy is not None:
            with blamed_on("data", name, "hierarchy"):
                open_hierarchy(hierarchy, where=f"data.{name}.hierarchy")
    return opened


def _check_online_probe(study: Study, data_root: Path | None) -> None:
    if study.online_probe is None:
        return
    labels = study.online_probe.labels
    with blamed_on("online_probe", "labels"):
        view = resolve_view(labels, study.views, data_root)
        if not view.declared.hierarchical or view.noise or view.merge or view.subset:
            raise InputError(
                f"online_probe.labels: {labels!r} is no plain level, depth or rank of a source's "
                "own classes"
            )


def _opened_tasks(
    study: Study, sources: Mapping[str, Source], data_root: Path | None
) -> tuple[dict[str, Task], list[Fault]]:
    """The tasks, and those whose splits or labels cannot serve. Raises InputError for words that
    are wrong whatever the data is.
    """
    tasks: dict[str, Task] = {}
    faults: list[Fault] = []
    for name, words in study.tasks.items():
        with blamed_on("tasks", name, "labels"):
            view = resolve_view(words.labels, study.views, data_root)
        source = sources[words.data]
        if source.strata is not None:
            raise InputError(
                f"tasks.{name}: {words.data} has shares that only pre-training draws in; name a "
                "data set without mix, balance and like",
                at=("tasks", name, "data"),
            )
        try:
            tasks[name] = resolve_task(
                name, source, view, split_column=words.split_column, group=words.group
            )
        except InputError as error:
            faults.append(Fault("tasks", name, str(error), error.at or ("tasks", name)))
    return tasks, faults
