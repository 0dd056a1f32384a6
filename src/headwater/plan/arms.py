"""Arms: what each is trained on, and its id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headwater import recipes
from headwater.errors import InputError, blamed_on
from headwater.labels import Targets, View, label_view, parse_captions, resolve_view
from headwater.labels.captions import caption_lists
from headwater.labels.reading import read
from headwater.labels.tokens import Reading
from headwater.plan.clusters import ClusterPlanner
from headwater.plan.images import held_out, images_of, seed_of_images
from headwater.plan.memo import Memo
from headwater.plan.mends import check_captions, check_labels
from headwater.plan.planned import Clusters, PlannedArm
from headwater.plan.resolved import Resolved
from headwater.plan.texts import check_reading
from headwater.registry import METHODS
from headwater.sources import Positions
from headwater.sources.pixels import RECIPE as PIXELS
from headwater.sources.strings import Lists
from headwater.study import Arm, Recipe, identity

MAX_IMAGES_SEEN = 10**15
"""A budget above this is a slip of the pen: it is centuries on any machine."""


@dataclass(frozen=True)
class Lesson:
    """What an arm learns from: images, and the labels or captions that its method asks for."""

    positions: Positions
    view: View | None = None
    targets: Targets | None = None
    clusters: Clusters | None = None
    captions: Sequence[list[str]] | None = None
    reading: Reading | None = None
    caption_noise: float | None = None

    @property
    def labelled(self) -> bool:
        return self.targets is not None or self.clusters is not None

    @property
    def single(self) -> bool:
        """Whether every image has one label at most; clusters give each one."""
        return self.targets is None or self.targets.single


class ArmPlanner:
    """Plans the arms of a study.

    What seeds and arms share (images, labels, captions) is made once. It is needed for planning
    alone, and ends with the planner.
    """

    def __init__(self, resolved: Resolved) -> None:
        self._resolved, self._study = resolved, resolved.study
        self._clusters = ClusterPlanner(resolved, self.planned)
        self._arms: Memo[PlannedArm] = Memo()
        self._recipes: Memo[Recipe | None] = Memo()
        self._settled_recipes: Memo[Recipe] = Memo()
        self._views: Memo[View] = Memo()
        self._positions: Memo[Positions] = Memo()
        self._held_out: Memo[Positions] = Memo()
        self._targets: Memo[Targets] = Memo()
        self._captions: Memo[Sequence[list[str]]] = Memo()
        self._readings: Memo[Reading] = Memo()
        self._swapped: Memo[tuple[Sequence[list[str]], float]] = Memo()

    def planned(self, words: Arm) -> PlannedArm:
        """An arm and what its words mean on the data.

        Raises InputError for labels, sizes and budgets that the data does not have.
        """
        return self._arms.get(words, lambda: self._planned(words))

    def _planned(self, words: Arm) -> PlannedArm:
        recipe = self._recipe(words)
        if recipe is None:
            return PlannedArm(self._id(words), words)
        assert words.source is not None
        lesson = self._lesson(words, recipe)
        source = self._resolved.source_of(words.source)
        images_seen = self._images_seen(words, recipe.batch, source.num_pictures(lesson.positions))
        if lesson.labelled:
            recipe = self._settled(words, recipe, single=lesson.single)
        fingerprint = source.fingerprint(lesson.positions)
        return PlannedArm(
            id=self._id(words, recipe, lesson, images_seen, fingerprint),
            words=words,
            recipe=recipe,
            source=source,
            positions=lesson.positions,
            source_fingerprint=fingerprint,
            targets=lesson.targets,
            captions=lesson.captions,
            images_seen=images_seen,
            clusters=lesson.clusters,
            view=lesson.view,
            reading=lesson.reading,
            caption_noise=lesson.caption_noise,
            held_out=self._held(words.source),
        )

    def _recipe(self, words: Arm) -> Recipe | None:
        """The recipe of an arm before its labels are known: one object for all arms that share
        it.
        """

        def resolved() -> Recipe | None:
            recipe = recipes.resolve(self._study, words.method)
            if recipe is None or words.lr_factor is None:
                return recipe
            return recipe.model_copy(update={"lr": recipe.lr * words.lr_factor})

        return self._recipes.get((words.method, words.lr_factor), resolved)

    def _settled(self, words: Arm, recipe: Recipe, *, single: bool) -> Recipe:
        return self._settled_recipes.get(
            (words.method, words.lr_factor, single),
            lambda: METHODS[words.method].settled(recipe, single=single),
        )

    def _view(self, labels: str) -> View:
        return self._views.get(
            labels, lambda: resolve_view(labels, self._study.views, self._resolved.data_root)
        )

    def _id(
        self,
        words: Arm,
        recipe: Recipe | None = None,
        lesson: Lesson | None = None,
        images_seen: int = 0,
        fingerprint: str | None = None,
    ) -> str:
        """The digest of all that the weights depend on; for an arm without a recipe, of its initial
        weights.
        """
        study = self._study
        meaning: dict[str, Any] = {
            "method": words.method,
            "version": METHODS[words.method].version,
            "backbone": study.backbone,
            "image_size": study.image_size,
            "patch_size": study.patch_size,
            "seed": words.seed,
            "precision": study.precision,
            "rooms": recipes.versions_of(recipes.ARM_ROOMS, pixels=PIXELS),
        }
        if recipe is None or lesson is None:
            return identity(meaning)
        targets = None
        if lesson.targets is not None:
            targets = lesson.targets.digest()
        elif lesson.clusters is not None:
            targets = lesson.clusters.id
        return identity(
            {
                **meaning,
                "recipe": recipe.words(),
                "images_seen": images_seen,
                "source": fingerprint,
                "targets": targets,
                "captions": _captions_digest(lesson.captions) if lesson.captions else None,
            }
        )

    def _lesson(self, words: Arm, recipe: Recipe) -> Lesson:
        """The one place that knows what each method learns from."""
        positions = self._images(words)
        if words.labels is None:
            return Lesson(positions)
        assert words.source is not None
        needs = METHODS[words.method].needs
        place = self._study.place(
            words.source, "captions" if needs == "captions" else "labels", words.labels
        )
        with blamed_on(*place):
            if needs == "labels":
                view = self._view(words.labels)
                if view.declared.hierarchical:
                    check_labels(self._resolved, words.source, words.labels, words.method)
                return self._of_labels(words, words.labels, positions)
            if needs == "captions":
                return self._of_captions(words, words.labels, recipe, positions)
        return Lesson(positions)

    def _of_labels(self, words: Arm, labels: str, positions: Positions) -> Lesson:
        view = self._view(labels)
        if view.clustered:
            clusters = self._clusters.planned(words, view, positions)
            return Lesson(positions, view, clusters=clusters)
        targets = self._labelled(words, view, positions)
        if targets.num_classes < 2:
            raise InputError(
                f"sources.{words.source}: at {labels} there is only one class "
                f"({targets.names[0]!r}), so there is nothing to learn; choose a finer level"
            )
        kept = positions if targets.rows is None else positions[targets.rows]
        return Lesson(kept, view, targets)

    def _labelled(self, words: Arm, view: View, positions: Positions) -> Targets:
        """The labels of an arm under a view; seeds that they do not depend on share them."""
        assert words.source is not None
        seed = words.seed if view.drawn else seed_of_images(self._resolved, words)
        source, where = self._resolved.source_of(words.source), f"sources.{words.source}"
        return self._targets.get(
            (words.source, words.size, view, seed),
            lambda: label_view(
                view, source.table, positions, words.seed, where, hashes=lambda: source.hashes
            ),
        )

    def _of_captions(self, words: Arm, labels: str, recipe: Recipe, positions: Positions) -> Lesson:
        assert words.source is not None
        source, where = self._resolved.source_of(words.source), f"sources.{words.source}"
        text, rate = parse_captions(labels)
        check_captions(self._resolved, words.source, text, words.method)
        images = (words.source, words.size, text)
        clean = self._captions.get(
            (*images, seed_of_images(self._resolved, words)),
            lambda: caption_lists(text, source.table, positions, where),
        )
        reading, context = None, METHODS[words.method].context(recipe)
        if context is not None:
            reading = self._readings.get(
                (*images, seed_of_images(self._resolved, words), context),
                lambda: read(clean, context),
            )
            check_reading(reading, len(clean), text, where, f"recipe: {{{words.method}: {{context:")
        if rate is None:
            return Lesson(positions, captions=clean, reading=reading)
        from headwater.labels.noise import swap_captions

        swapped, noise = self._swapped.get(
            (*images, rate, words.seed),
            lambda: swap_captions(clean, rate, source.hashes[positions], words.seed),
        )
        return Lesson(positions, captions=swapped, reading=reading, caption_noise=noise)

    def _images(self, words: Arm) -> Positions:
        key = (words.source, words.size, seed_of_images(self._resolved, words))
        return self._positions.get(key, lambda: images_of(self._resolved, words))

    def _held(self, name: str) -> Positions:
        return self._held_out.get(name, lambda: held_out(self._resolved, name))

    def _images_seen(self, words: Arm, batch: int, images: int) -> int:
        """Images of the whole training, where there are so many different ones: an epoch is a pass
        over pictures, however many files each has. Raises InputError for too few and too many.
        """
        budget = self._study.budget_of(words)
        seen = budget.images(images, batch)
        if not 2 <= seen <= MAX_IMAGES_SEEN:
            (unit,) = budget.words()
            place = () if words.budget is None else (self._study.budget.index(budget),)
            many = "fewer than 2" if seen < 2 else f"more than {MAX_IMAGES_SEEN:.0e}"
            raise InputError(
                f"budget.{unit}: {many} images would be seen in training (sources.{words.source} "
                f"has {images})",
                at=("budget", *place, unit),
            )
        return seen


def _captions_digest(captions: Sequence[list[str]]) -> str:
    digest = hashlib.sha256()
    if isinstance(captions, Lists):
        for lines in captions.lines("\x1f"):
            digest.update(lines)
    else:
        for of_image in captions:
            digest.update(("\x1f".join(of_image) + "\n").encode())
    return digest.hexdigest()[:32]
