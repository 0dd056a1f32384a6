"""A study against its data: which arms and cells there are, by content, and what only data can tell
to be wrong.

An arm's id hashes its resolved recipe, the images it is trained on (ids and bytes) and their
targets; a cell's id hashes the arm's id, the task's images, labels and splits, and the protocol.
Names are not in ids: two studies that mean the same arm share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headwater import keys, recipes
from headwater.errors import InputError, blamed_on
from headwater.labels import (
    Targets,
    View,
    classes_of,
    distinct_views,
    label_view,
    parse_captions,
    resolve_view,
)
from headwater.labels.captions import caption_lists, captions_name
from headwater.labels.hierarchies import open_hierarchy
from headwater.plan.clusters import plan_clusters
from headwater.plan.overlaps import check_overlaps, looks_for_copies, overlap
from headwater.plan.planned import Clusters, Overlap, PlannedArm, PlannedCell
from headwater.registry import METHODS, PROTOCOLS
from headwater.sources import Positions, Source, natural_splits, open_source
from headwater.sources.pixels import RECIPE as PIXELS
from headwater.store import Store
from headwater.study import Arm, Cell, Study, identity
from headwater.tasks import Task, resolve_task

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Clusters", "Overlap", "Plan", "PlannedArm", "PlannedCell"]

MAX_IMAGES_SEEN = 10**15
"""A budget above this is a slip of the pen: it is centuries on any machine."""


@dataclass
class Plan:
    """A resolved study. `Plan.make` reads tables and hashes bytes, but decodes no image."""

    study: Study
    sources: dict[str, Source]
    tasks: dict[str, Task]
    arms: list[PlannedArm] = field(default_factory=list)
    cells: list[PlannedCell] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Things a person should know before the run: small leaks, a validation split cut from images
    that are trained on, batches larger than a source.
    """
    _hashes: dict[tuple[str, bytes], NDArray[np.bytes_]] = field(default_factory=dict)
    _made: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    data_root: Path | None = None
    pixel_caches: dict[str, Any] = field(default_factory=dict)
    """Decoded images that this process has opened, by data set (headwater.work)."""

    @classmethod
    def make(
        cls, study: Study, *, data_root: Path | None = None, cache: Path | None = None
    ) -> Plan:
        """Resolve a study.

        `data_root` is where folders are looked for, `cache` where byte hashes are remembered.

        Raises InputError, with the file and the line of what is wrong where the study came from a
        file.
        """
        with study.located():
            return cls._make(study, data_root, cache)

    @classmethod
    def opened(
        cls, study: Study, *, data_root: Path | None = None, cache: Path | None = None
    ) -> Plan:
        """The study's sources and tasks without arms and cells: no byte of an image is hashed, no
        label view of a source is made.

        Raises InputError as `make` does, for what the tables alone can tell.
        """
        with study.located():
            return cls._opened(study, data_root, cache)

    @classmethod
    def _opened(cls, study: Study, data_root: Path | None, cache: Path | None) -> Plan:
        for method in study.methods:
            recipes.resolve(study, method)
        for name in study.views:
            resolve_view(name, study.views, data_root)
        distinct_views(study.labels, ("labels",), study.views)
        for name, use in study.sources.items():
            distinct_views(use.labels or (), ("sources", name, "labels"), study.views)
        opened: dict[str, Source] = {}
        for name, words in study.data.items():
            with blamed_on("data", name, "path"):
                if _is_used(study, name):
                    opened[name] = open_source(name, words, data_root=data_root, cache=cache)
            if name in opened and opened[name].table.hierarchy is not None:
                with blamed_on("data", name, "hierarchy"):
                    open_hierarchy(
                        opened[name].table.hierarchy or "", where=f"data.{name}.hierarchy"
                    )
        if study.online_probe is not None:
            with blamed_on("online_probe", "labels"):
                asked = resolve_view(study.online_probe.labels, study.views, data_root)
                if not asked.declared.hierarchical or asked.noise or asked.merge or asked.subset:
                    raise InputError(
                        f"online_probe.labels: {study.online_probe.labels!r} is no plain level, "
                        "depth or rank of a source's own classes"
                    )
        tasks = {}
        for name, task in study.tasks.items():
            with blamed_on("tasks", name, "labels"):
                view = resolve_view(task.labels, study.views, data_root)
            tasks[name] = resolve_task(
                name, opened[task.data], view, split_column=task.split_column, group=task.group
            )
        return cls(study, opened, tasks, data_root=data_root)

    @classmethod
    def _make(cls, study: Study, data_root: Path | None, cache: Path | None) -> Plan:
        plan = cls._opened(study, data_root, cache)
        plan._check_shots()
        plan.arms = [plan.planned_arm(words) for words in study.arms()]
        plan._note_losses()
        plan._note_probe()
        plan.notes += list(
            dict.fromkeys(
                f"{arm.words.title} is trained for its features alone, by which others are labelled"
                for arm in plan.supports
            )
        )
        check_overlaps(plan)
        plan.cells = [
            plan._cell(arm, words) for arm in plan.arms for words in study.cells(arm.words)
        ]
        return plan

    # arms
    @property
    def supports(self) -> list[PlannedArm]:
        """Arms that the study does not measure, but whose features some of its arms are labelled
        by; each once.
        """
        own = {arm.id for arm in self.arms}
        found: dict[str, PlannedArm] = {}
        for arm in self.arms:
            needed = arm.needs
            while needed is not None and needed.id not in found:
                found[needed.id] = needed
                needed = needed.needs
        return [arm for arm_id, arm in reversed(found.items()) if arm_id not in own]

    def planned_arm(self, words: Arm) -> PlannedArm:
        return self.once(("arm", words), lambda: self._planned(words))  # type: ignore[no-any-return]

    def _planned(self, words: Arm) -> PlannedArm:
        study = self.study
        method, recipe = METHODS[words.method], recipes.resolve(study, words.method)
        rooms = recipes.versions_of(recipes.ARM_ROOMS, pixels=PIXELS)
        common = {
            "backbone": study.backbone,
            "image_size": study.image_size,
            "patch_size": study.patch_size,
            "seed": words.seed,
            "precision": study.precision,
            "rooms": rooms,
            "method": words.method,
            "version": method.version,
        }
        if recipe is None:
            return PlannedArm(identity(common), words)
        assert words.source is not None
        source = self.sources[study.sources[words.source].data]
        where = f"sources.{words.source}"
        of_seed = None if words.size in (None, "all") else words.seed
        positions: Positions = self.once(
            ("positions", words.source, words.size, of_seed), lambda: self.images_of(words)
        )
        view, targets, captions, swapped, clusters = None, None, None, None, None
        with blamed_on(
            *study.place(
                words.source, "captions" if method.needs == "captions" else "labels", words.labels
            )
        ):
            if method.needs == "labels" and words.labels:
                view = resolve_view(words.labels, study.views, self.data_root)
                if view.clustered:
                    clusters = plan_clusters(self, words, view, source, positions)
                else:
                    targets = self._targets(words, view, source, positions)
                    positions = positions if targets.rows is None else positions[targets.rows]
            elif method.needs == "captions" and words.labels:
                captions, swapped = self._captions(words, source, positions)
            if targets is not None and targets.num_classes < 2:
                only = f"at {words.labels} there is only one class ({targets.names[0]!r})"
                raise InputError(
                    f"{where}: {only}, so there is nothing to learn; choose a finer level"
                )
        images_seen = study.budget.images(len(positions), recipe.batch)
        if not 2 <= images_seen <= MAX_IMAGES_SEEN:
            (unit,) = study.budget.words()
            many = "fewer than 2" if images_seen < 2 else f"more than {MAX_IMAGES_SEEN:.0e}"
            raise InputError(
                f"budget.{unit}: {many} images would be seen in training ({where} has "
                f"{len(positions)})",
                at=("budget", unit),
            )
        if targets is not None or clusters is not None:
            recipe = method.settled(recipe, single=targets is None or targets.single)
        fingerprint, held_out = source.fingerprint(positions), self.held_out(words.source)
        meaning = {
            "recipe": recipe.words(),
            "images_seen": images_seen,
            "source": fingerprint,
            "targets": targets.digest() if targets else clusters.id if clusters else None,
            "captions": _captions_digest(captions) if captions else None,
            **common,
        }
        return PlannedArm(
            identity(meaning),
            words,
            recipe,
            source,
            positions,
            fingerprint,
            targets,
            captions,
            images_seen,
            clusters,
            view,
            swapped,
            held_out,
        )

    def _targets(self, words: Arm, view: View, source: Source, positions: Positions) -> Targets:
        """The labels of an arm under a view; seeds that they do not depend on share them."""
        drawn = words.seed if view.drawn or words.size not in (None, "all") else None
        at = ("targets", words.source, words.size, view, drawn)
        return self.once(  # type: ignore[no-any-return]
            at,
            lambda: label_view(
                view,
                source.table,
                positions,
                words.seed,
                f"sources.{words.source}",
                hashes=lambda: source.hashes,
            ),
        )

    def _captions(
        self, words: Arm, source: Source, positions: Positions
    ) -> tuple[list[list[str]], float | None]:
        """(captions, realised share of swapped ones) of a clip arm."""
        assert words.labels is not None
        text, rate = parse_captions(words.labels)
        of_seed = None if words.size in (None, "all") else words.seed
        clean = self.once(
            ("captions", words.source, words.size, text, of_seed),
            lambda: caption_lists(text, source.table, positions, f"sources.{words.source}"),
        )
        if rate is None:
            return clean, None
        from headwater.labels.noise import swap_captions

        return self.once(  # type: ignore[no-any-return]
            ("swapped", words.source, words.size, text, rate, words.seed),
            lambda: swap_captions(clean, rate, source.hashes[positions], words.seed),
        )

    def images_of(self, words: Arm) -> Positions:
        """The images of an arm, ascending: the source's splits, and of these the first `size` in a
        keyed order, so that a larger size holds a smaller.
        """
        assert words.source is not None
        use = self.study.sources[words.source]
        source = self.sources[use.data]
        positions = np.setdiff1d(self.of_splits(words.source), self.held_out(words.source))
        if len(positions) < 2:
            raise InputError(
                f"sources.{words.source}: {source.name} has {len(positions)} images in "
                f"{', '.join(use.splits)}; pre-training needs at least 2",
                at=("sources", words.source, "splits"),
            )
        if words.size in (None, "all"):
            return positions
        assert isinstance(words.size, int)
        if not 2 <= words.size <= len(positions):
            raise InputError(
                f"sources.{words.source}: size {words.size} is not between 2 and the "
                f"{len(positions)} images that there are",
                at=self.study.place(words.source, "sizes", words.size),
            )
        order = keys.permutation(keys.key(words.seed, "size"), source.hashes[positions])
        return np.sort(positions[order[: words.size]])

    def held_out(self, name: str) -> Positions:
        """The images of a source that are left out of training for the online probe, ascending:
        drawn by key, the same in every arm and seed.
        """
        words = self.study.online_probe
        if words is None:
            return np.empty(0, dtype=np.int64)

        def draw() -> Positions:
            positions = self.of_splits(name)
            drawn = keys.uniform(
                keys.key(0, "online probe"),
                self.sources[self.study.sources[name].data].hashes[positions],
                1,
            )[:, 0]
            return positions[drawn < words.share]

        return self.once(("held out", name), draw)  # type: ignore[no-any-return]

    def probe_labels(self, name: str) -> tuple[Positions, NDArray[np.int64], int] | None:
        """(positions of all images of a source, ascending; their class under the online probe's
        view, int64; classes). None where the source has no such labels.
        """
        words = self.study.online_probe
        assert words is not None

        def look() -> tuple[Positions, NDArray[np.int64], int] | None:
            positions, source = self.of_splits(name), self.sources[self.study.sources[name].data]
            view = resolve_view(words.labels, self.study.views, self.data_root)
            try:
                targets = label_view(
                    view,
                    source.table,
                    positions,
                    0,
                    f"sources.{name}",
                    hashes=lambda: source.hashes,
                )
            except InputError:  # images alone, or no such level
                return None
            return positions, classes_of(targets), targets.num_classes

        return self.once(("probe labels", name), look)  # type: ignore[no-any-return]

    def of_splits(self, name: str) -> Positions:
        """All images of a source's splits, ascending, each once.

        Raises InputError for a split that is none or holds no image.
        """
        use = self.study.sources[name]
        source = self.sources[use.data]
        found: list[Positions] = []
        for i, split in enumerate(use.splits):
            with blamed_on("sources", name, "splits", i):
                try:
                    natural = str(natural_splits([split], name)[0])
                except InputError:
                    natural = ""
                if not natural:
                    raise InputError(
                        f"sources.{name}: the split {split!r} is none of train, val, test"
                    )
                with blamed_on("sources", name, "split_column"):
                    found.append(source.split(use.split_column, natural))
                if not len(found[-1]):
                    raise InputError(
                        f"sources.{name}: {source.name} has 0 images in {split}; pre-training "
                        "needs at least 2"
                    )
        return np.unique(np.concatenate(found))

    # cells
    def _cell(self, arm: PlannedArm, words: Cell) -> PlannedCell:
        protocol, asked = PROTOCOLS[words.protocol], self.study.protocols
        said = asked.asked(words.protocol)
        rooms = protocol.rooms_of(said)
        if self.looks_for_copies(arm.words.source, words.task):
            rooms = (*rooms, "leaks")
        versions = recipes.versions_of(rooms, pixels=PIXELS) | protocol.versions_of(said)
        meaning = {
            "arm": arm.id,
            "task": self.task_fingerprint(words.task),
            "cap": self.study.tasks[words.task].cap or None,
            "protocol": protocol.meaning(said, asked, self.tasks[words.task]),
            "shots": words.shots,
            "draw": words.draw,
            "precision": self.study.precision,
            "rooms": versions,
        }
        return PlannedCell(identity(meaning), words, arm)

    def task_fingerprint(self, name: str) -> str:
        """Digest of a task's images, labels and splits."""
        return self._task_fingerprints[name]

    @cached_property
    def _task_fingerprints(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, task in self.tasks.items():
            digest = hashlib.sha256("\x1f".join(task.class_names).encode())
            for positions in (task.train, task.val, task.test):
                digest.update(task.source.fingerprint(positions).encode())
                digest.update(task.labels[positions].astype("<i8").tobytes())
                if task.source.table.hard is not None:
                    digest.update(task.source.table.hard[positions].tobytes())
            found[name] = digest.hexdigest()[:32]
        return found

    def rows(self, store: Store) -> pd.DataFrame:
        """The rows of this study's cells, finished and failed, under this study's names (an arm may
        be shared with another study's).
        """
        from headwater.rows import to_frame

        present = store.finished_cells() | store.failed_cells()
        found: list[dict[str, Any]] = []
        named = {(cell.id, cell.words, cell.arm.words): cell for cell in self.cells}
        for cell in named.values():
            if cell.id in present:
                found.extend({**row, **self.names(cell)} for row in store.read_cell(cell.id))
        return to_frame(found)

    def names(self, cell: PlannedCell) -> dict[str, Any]:
        """What this study calls a cell: the fields of a row that are words, not content."""
        arm = cell.arm
        view = (
            arm.view.name
            if arm.view
            else None
            if arm.words.labels is None
            else captions_name(arm.words.labels)
        )
        return {
            "study": self.study.study,
            "source": arm.words.source,
            "size": None if arm.words.size is None else str(arm.words.size),
            "labels": view,
            "label_level": arm.view.level if arm.view else None,
            "task": cell.words.task,
            "task_labels": self.tasks[cell.words.task].view,
        }

    # checks that need data
    def _check_shots(self) -> None:
        one_arm_each = {arm.source: arm for arm in self.study.arms()}
        for cell in dict.fromkeys(
            cell for arm in one_arm_each.values() for cell in self.study.cells(arm)
        ):
            words = self.study.protocols.asked(cell.protocol)
            if cell.shots is not None:
                with blamed_on("protocols", cell.protocol, *words.place_of(cell.shots)):
                    self.tasks[cell.task].check_shots(
                        cell.shots, cap=self.study.tasks[cell.task].cap
                    )

    def _note_losses(self) -> None:
        """Supervised arms with different losses differ in more than their labels, so it is said.

        Softmax over sets of one is softmax.
        """
        views: dict[str, dict[str, None]] = {}
        for arm in self.arms:
            if arm.loss_name is not None:
                title = (
                    f"{arm.words.labels} of {arm.words.source}"
                    if len(self.study.sources) > 1
                    else str(arm.words.labels)
                )
                views.setdefault(arm.loss_name.removesuffix(" over sets"), {})[title] = None
        if len(views) > 1:
            said = ", ".join(
                f"{' and '.join(titles)} {'train' if len(titles) > 1 else 'trains'} with {loss}"
                for loss, titles in views.items()
            )
            self.notes.append(f"{said}; `recipe: {{supervised: {{loss: ...}}}}` holds it equal")

    def _note_probe(self) -> None:
        words = self.study.online_probe
        if words is not None:
            for name in self.study.sources:
                if self.probe_labels(name) is None:
                    self.notes.append(
                        f"the online probe is not asked on source {name}, which has no labels "
                        f"{words.labels}; its share is left out all the same"
                    )
                elif not len(self.held_out(name)):
                    self.notes.append(
                        f"the online probe is not asked on source {name}: a share of {words.share} "
                        "leaves out none of its few images"
                    )

    def looks_for_copies(self, source: str | None, task: str) -> bool:
        """Whether test images of a task are looked for among the images of a source, changed or
        not.
        """
        return looks_for_copies(self, source, task)

    def overlap(self, arm: PlannedArm, task_name: str) -> Overlap:
        """Label reuse and leaked test images of an arm and a task."""
        return self.once(("overlap", arm.id, task_name), lambda: overlap(self, arm, task_name))  # type: ignore[no-any-return]

    def once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What seeds and arms share, made once."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def byte_hashes(self, source: Source, positions: Positions) -> NDArray[np.bytes_]:
        at = (source.name, positions.tobytes())
        if at not in self._hashes:
            self._hashes[at] = np.array(source.byte_hashes(positions), dtype="S")
        return self._hashes[at]


def _is_used(study: Study, data: str) -> bool:
    return data in {use.data for use in study.sources.values()} | {
        use.data for use in study.tasks.values()
    }


def _captions_digest(captions: list[list[str]]) -> str:
    digest = hashlib.sha256()
    for own in captions:
        digest.update(("\x1f".join(own) + "\n").encode())
    return digest.hexdigest()[:32]
