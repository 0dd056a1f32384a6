"""A study's plan before its data is there: arms, cells, images and classes from published numbers.

No image is opened. What a plan proper reads off tables and bytes (copies, images that cannot be
read, ids, which arms are one) is not known here. An outline is no promise: links die, and copies
of web sets differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from headwater import recipes
from headwater.errors import InputError, blamed_on
from headwater.labels import View, resolve_view
from headwater.labels.captions import parse_captions
from headwater.plan.memo import Memo
from headwater.plan.missing import Missing, is_there, known_of, missing_data
from headwater.registry import METHODS
from headwater.sources import open_source
from headwater.sources.published.registry import Published
from headwater.sources.recipes import KnownSet
from headwater.study import Arm, Cell, Recipe, Study
from headwater.tasks import VAL_SHARE

_NEARLY = 1.01
"""More images than links that work, by less than this, are not worth a word [ours]."""


@dataclass(frozen=True)
class KnownData:
    """A data set by what is published of it, or by the tables of one that is there."""

    name: str
    title: str
    there: bool
    splits: Mapping[str, int]
    """Images by split."""
    source: str
    """Where these numbers are from."""
    recipe: KnownSet | None = None
    levels: tuple[int, ...] = ()
    """Classes by level, of a set without a recipe."""

    @property
    def captioned(self) -> bool:
        """Whether it may have captions: a table's are told when it is planned."""
        return self.recipe is None or bool(self.recipe.captions)

    def images(self, splits: tuple[str, ...]) -> int:
        """Raises InputError for a split that it lacks."""
        for split in splits:
            if not self.splits.get(split):
                raise InputError(
                    f"{self.name}: {self.title} has no {split} split; it has "
                    f"{', '.join(self.splits)}"
                )
        return sum(self.splits[split] for split in splits)

    def classes(self, view: View, images: int) -> int | None:
        """Classes that a view makes of so many images; None where only the data can tell."""
        if view.merge or view.kind == "depth":
            return None
        if view.subset:
            return len(view.subset)
        if view.kind == "instance":
            return images
        if view.declared.hierarchical:
            return self._level(view)
        return view.number if view.like is None else self.classes(view.like, images)

    def _level(self, view: View) -> int | None:
        if self.recipe is not None:
            count = self.recipe.at_level(view.number, view.rank)
            return None if count is None else count.value
        known = not view.rank and view.number < len(self.levels)
        return self.levels[view.number] if known else None


@dataclass(frozen=True)
class OutlinedArm:
    """An arm, as far as it is known without data."""

    words: Arm
    recipe: Recipe | None = None
    """None where nothing is trained."""
    data: str | None = None
    images: int = 0
    classes: int | None = None
    images_seen: int = 0
    features: str | None = None
    """The timm model whose features its labels are made from."""

    @property
    def steps(self) -> int:
        return 0 if self.recipe is None else math.ceil(self.images_seen / self.recipe.batch)


@dataclass(frozen=True)
class OutlinedTask:
    """A task's numbers; those of a task that a protocol's cost asks for."""

    name: str
    data: str
    train: range
    val: range
    test: range
    num_classes: int
    carved: bool

    @property
    def images(self) -> int:
        return len(self.train) + len(self.val) + len(self.test)


@dataclass(frozen=True)
class Outline:
    """A study's plan from published numbers."""

    study: Study
    data: Mapping[str, KnownData]
    missing: tuple[Missing, ...]
    arms: tuple[OutlinedArm, ...]
    supports: tuple[OutlinedArm, ...]
    """Arms that are trained for their features alone."""
    tasks: Mapping[str, OutlinedTask]
    cells: Mapping[Arm, Mapping[Cell, int]] = field(default_factory=dict)
    """By arm, its cells, draws counted together."""
    notes: tuple[str, ...] = ()

    @property
    def num_cells(self) -> int:
        return sum(sum(own.values()) for own in self.cells.values())


def outline(study: Study, data_root: Path | None, *, asked: bool = False) -> Outline | None:
    """The outline of a study of which data is missing, or any where it is `asked` for.

    None where nothing is missing, and where something is of which no number is published: planning
    says what is wrong then. Raises InputError, with the study's line, for what numbers alone can
    tell to be wrong.
    """
    missing = missing_data(study, data_root)
    if not all(each.known for each in missing) or not (missing or asked):
        return None
    with study.located():
        return _outlined(study, data_root, missing)


def _outlined(study: Study, data_root: Path | None, missing: tuple[Missing, ...]) -> Outline:
    data = {name: _data(study, name, data_root) for name in _used(study)}
    tasks = {name: _task(study, name, data) for name in study.tasks}
    planner = _Planner(study, data, {})
    arms = tuple(planner.arm(words) for words in study.arms())
    measured = {arm.words for arm in arms}
    supports = tuple(arm for words, arm in planner.supports.items() if words not in measured)
    cells = {}
    counted: Memo[Counter[Cell]] = Memo()
    for arm in arms:
        words = arm.words
        cells[words] = counted.get((words.source, words.method), partial(_counted, study, words))
    notes = tuple(dict.fromkeys(_notes(arms, data)))
    return Outline(study, data, missing, arms, supports, tasks, cells, notes)


def _counted(study: Study, arm: Arm) -> Counter[Cell]:
    """The cells of an arm without their draws, and how many there are of each."""
    return Counter(cell.model_copy(update={"draw": None}) for cell in study.cells(arm))


def _used(study: Study) -> list[str]:
    names = [use.data for use in study.sources.values()]
    return list(dict.fromkeys([*names, *(use.data for use in study.tasks.values())]))


def _data(study: Study, name: str, data_root: Path | None) -> KnownData:
    recipe, published = known_of(study, name)
    there = is_there(study, name, data_root)
    if published is not None:
        return _of_published(study, name, there, published, recipe)
    if recipe is not None:
        splits: dict[str, int] = {split: count.value for split, count in recipe.splits.items()}
        origin = next(iter(recipe.splits.values())).source
        return KnownData(name, recipe.title, there, splits, origin, recipe)
    words = study.data[name]
    if words.parts():
        raise InputError(
            f"data.{name}: a {words.kind} is made of others, and cannot be outlined before these "
            "are there; outline the study without it",
            at=("data", name),
        )
    from headwater.plan.places import placed

    source = open_source(name, placed(study, name, data_root), data_root=data_root, cache=None)
    counts = Counter(map(str, source.table.splits.get("split", [])))
    own = {split: number for split, number in counts.items() if split}
    levels = tuple(len(set(level.tolist()) - {""}) for level in source.table.levels)
    return KnownData(name, name, True, own, "its own tables", None, levels)


def _of_published(
    study: Study, name: str, there: bool, published: Published, recipe: KnownSet | None
) -> KnownData:
    variant = getattr(study.data[name], "split", None)
    return KnownData(
        name,
        published.title,
        there,
        published.sizes_of(variant),
        published.source_of_sizes,
        recipe,
        (published.classes,),
    )


def _task(study: Study, name: str, data: Mapping[str, KnownData]) -> OutlinedTask:
    use = study.tasks[name]
    known = data[use.data]
    with blamed_on("tasks", name):
        view = resolve_view(use.labels, study.views)
        train, test = known.images(("train",)), known.images(("test",))
        classes = known.classes(view, train)
    if classes is None:
        raise InputError(
            f"tasks.{name}: nobody says how many classes {use.labels} of {known.title} has; name "
            "another view, or plan with the data",
            at=("tasks", name, "labels"),
        )
    val = known.splits.get("val", 0)
    carved = 0 if val else round(VAL_SHARE * train)
    return OutlinedTask(
        name,
        use.data,
        range(train - carved),
        range(val or carved),
        range(test),
        classes,
        carved=not val,
    )


@dataclass
class _Planner:
    study: Study
    data: Mapping[str, KnownData]
    supports: dict[Arm, OutlinedArm]

    def arm(self, words: Arm) -> OutlinedArm:
        study = self.study
        recipe = recipes.resolve(study, words.method)
        if recipe is None or words.source is None:
            return OutlinedArm(words)
        if words.lr_factor is not None:
            recipe = recipe.model_copy(update={"lr": recipe.lr * words.lr_factor})
        known = self.data[study.sources[words.source].data]
        images = self._images(words, known)
        seen = study.budget_of(words).images(images, recipe.batch)
        classes, features = None, None
        needs = METHODS[words.method].needs
        if needs == "labels" and words.labels is not None:
            classes, features = self._labels(words, known, images)
        elif needs == "captions" and words.labels is not None:
            self._check_captions(words, known)
        return OutlinedArm(words, recipe, known.name, images, classes, seen, features)

    def _images(self, words: Arm, known: KnownData) -> int:
        assert words.source is not None
        use = self.study.sources[words.source]
        with blamed_on("sources", words.source, "splits"):
            images = known.images(use.splits)
        if self.study.online_probe is not None:
            images -= round(self.study.online_probe.share * images)
        if words.size in (None, "all"):
            return images
        assert isinstance(words.size, int)
        if words.size > images:
            raise InputError(
                f"sources.{words.source}: size {words.size:,} is above the {images:,} images that "
                f"{known.title} has ({known.source})",
                at=self.study.place(words.source, "sizes", words.size),
            )
        return words.size

    def _labels(self, words: Arm, known: KnownData, images: int) -> tuple[int | None, str | None]:
        """(classes, the timm model that clusters are made from)."""
        assert words.source is not None and words.labels is not None
        with blamed_on(*self.study.place(words.source, "labels", words.labels)):
            view = resolve_view(words.labels, self.study.views)
            lacking = known.recipe is not None and not known.recipe.levels
            if lacking and (view.declared.hierarchical or view.like or view.within):
                raise InputError(f"sources.{words.source}: {known.title} has no classes")
        classes = known.classes(view, images)
        if not view.clustered:
            return classes, None
        if view.features is not None and (view.features.timm or view.features.file):
            return classes, view.features.timm
        method = "simclr" if view.features is None else view.features.method
        labels = None if view.features is None else view.features.labels
        above = words.model_copy(update={"method": method, "labels": labels})
        if above not in self.supports:
            self.supports[above] = self.arm(above)
        return classes, None

    def _check_captions(self, words: Arm, known: KnownData) -> None:
        assert words.source is not None and words.labels is not None
        place = self.study.place(words.source, "captions", words.labels)
        text, _ = parse_captions(words.labels)
        has_classes = known.recipe is None or bool(known.recipe.levels)
        if text == "template" and not has_classes:
            raise InputError(
                f"sources.{words.source}: {known.title} has no classes to make captions of",
                at=place,
            )
        if text != "template" and not known.captioned:
            raise InputError(
                f"sources.{words.source}: {known.title} has no captions; write `captions: "
                "template` for its class names",
                at=place,
            )


def _notes(arms: tuple[OutlinedArm, ...], data: Mapping[str, KnownData]) -> list[str]:
    notes = []
    for arm in arms:
        recipe = None if arm.data is None else data[arm.data].recipe
        if recipe is not None and arm.images > _NEARLY * recipe.expected_images:
            notes.append(
                f"{arm.words.source}: {arm.images:,} images are asked for, and about "
                f"{recipe.expected_images:,} links of {recipe.title} work"
            )
        if recipe is not None and arm.recipe is not None and arm.words.labels is not None:
            needs = METHODS[arm.words.method].needs
            if needs == "labels" and arm.classes is None:
                notes.append(f"{arm.words.labels} of {recipe.title}: its classes are not published")
    return notes
