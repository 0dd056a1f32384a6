"""What can be said of a label view before anything is trained: its class sizes, how it lies to a
task's classes, and what to expect of it.

    describe(targets)               classes, images per class, singletons, multi-label share,
                                    realised noise
    against(targets, task_codes)    nesting both ways, normalised mutual information, each beside
                                    what chance gives
    expected_direction(facts)       too coarse, matches, finer, too fine or not aligned: a prior
                                    from Hong et al. 2023, not a measurement

An image with several labels counts 1 / (number of its labels) towards each: the contingency table
of labels and task classes is fractional, and still sums to the number of images. The way back (does
the task's class determine the labels?) takes an image's whole set as one class, because a level of
a DAG gives each class one set, and splitting it would hide that the level coarsens the task.

Chance is a keyed permutation of the task's classes over the images, so that all class sizes stay
what they are; the expected maximum of a multivariate hypergeometric draw has no closed form. It is
averaged over as many permutations as make CHANCE_IMAGES images, at least one and at most
MOST_DRAWS.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.labels.targets import Codes, LabelSets, Targets

Ints = NDArray[np.int64]
Direction = Literal["too coarse", "matches", "finer", "too fine", "not aligned"]

FEW_IMAGES = 10
"""A class with fewer images is a small one [ours]: between the 50 per species of the finest
level of Hong et al. 2023, which still is one of the manual levels that won, and the one per class
that memorises.
"""
FEW_SHARE = 0.5
"""Above this share of the images in small classes a view is too fine [ours].

Images are counted and not classes: a long tail that holds few images does little to training.
"""
NESTED = 0.95
"""Alignment from which on a view counts as nested: slips in labels and near-duplicates break exact
nesting [ours].
"""
ALIGNED = 0.5
"""Alignment below which a view counts as not aligned [ours]: more than half of what it could say
about the task beyond chance is missing. In Hong et al. 2023, clusters that cut across the
superclasses did far worse than clusters within them, and random classes worst.
"""
HARDLY_TOLD = 0.98
"""Where chance nests more than this and classes are small, the alignment of a view cannot be seen:
nearly every class is one image [ours].
"""
MANY_CLASSES = 100
"""Manual levels won from about this many classes on in Hong et al. 2023, section B [paper]; with
fewer, clusters did not lose to them.
"""
CHANCE_IMAGES = 200_000
MOST_DRAWS = 20
_DENSE_CELLS = 1 << 26
"""Contingency tables up to this size are counted in place (0.5 GB of int64); larger ones are
sorted.
"""


@dataclass(frozen=True)
class ViewFacts:
    """A view by itself."""

    view: str
    classes: int
    images: int
    smallest: int
    """Images of the smallest class, and so on.

    An image with several labels counts in full towards each of them here.
    """
    median: float
    largest: int
    singletons: int
    """Classes of one image."""
    small_share: float
    """Share of the images whose class has fewer than FEW_IMAGES."""
    multi_label_share: float
    """Share of the images with more than one label."""
    noise: float | None
    """Share of the images whose labels were changed on purpose; None where no noise was asked
    for.
    """

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class AlignmentFacts:
    """A view against a task, on the images that have both. Shares are 0 to 1."""

    images: int
    classes: int
    """Label classes and, below, task classes that occur among these images."""
    task_classes: int
    images_per_class: float
    """Median over the label classes."""
    small_share: float
    """Share of the images whose label class has fewer than FEW_IMAGES of them."""
    nesting: float
    """Share of the images whose task class is the most frequent one of their label class (the
    purity of the view's classes). 1 where every label class lies in one task class.
    """
    nesting_by_chance: float
    classes_nested: float
    """Share of the label classes all of whose images are of one task class."""
    reverse_nesting: float
    """Share of the images whose labels are the most frequent ones of their task class. 1 where the
    view coarsens the task (or equals it): it cannot tell the task's classes apart any further.
    """
    reverse_by_chance: float
    nmi: float
    """Mutual information over the arithmetic mean of the two entropies (scikit-learn's default);
    not corrected for chance, hence the next.
    """
    nmi_by_chance: float

    @property
    def alignment(self) -> float:
        """Nesting above chance: 0 as with random labels of these sizes, 1 where nested."""
        return _beyond(self.nesting, self.nesting_by_chance)

    @property
    def reverse_alignment(self) -> float:
        """The same the other way round: 1 where the view coarsens the task."""
        return _beyond(self.reverse_nesting, self.reverse_by_chance)

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "alignment": self.alignment,
            "reverse_alignment": self.reverse_alignment,
        }


@dataclass(frozen=True)
class Expectation:
    """What Hong et al. 2023 leads one to expect of a view for a task."""

    direction: Direction
    reason: str
    """One sentence."""


def describe(targets: Targets) -> ViewFacts:
    """Facts of a view by itself. Raises ValueError where it has no image."""
    counts = targets.counts[targets.counts > 0]
    if not len(targets) or not len(counts):
        raise ValueError(f"{targets.view}: there is no image to describe")
    return ViewFacts(
        view=targets.view,
        classes=len(counts),
        images=len(targets),
        smallest=int(counts.min()),
        median=float(np.median(counts)),
        largest=int(counts.max()),
        singletons=int((counts == 1).sum()),
        small_share=_small_share(targets),
        multi_label_share=targets.multi_label_share,
        noise=targets.noise,
    )


def against(targets: Targets, task_codes: Codes) -> AlignmentFacts:
    """How a view lies to a task's classes: `task_codes` is int [num_images], each image's class in
    the task, -1 where it has none.

    Single-label views take time and memory in proportion to the images. Raises ValueError for codes
    of another length and where no image has both.
    """
    if len(task_codes) != len(targets):
        raise ValueError(
            f"{targets.view}: {len(targets)} images have labels and {len(task_codes)} have task "
            "codes"
        )
    both = np.flatnonzero(task_codes >= 0)
    if not len(both):
        raise ValueError(f"{targets.view}: no image has both a label and a class of the task")
    common = targets if len(both) == len(targets) else targets.take(both)
    task, num_tasks = _compressed(task_codes[both])
    counts = common.counts[common.counts > 0]
    parts, sets = common.codes, common.sets
    if sets is not None:
        group, first = _equal_sets(sets)
        parts, sets = group[common.codes], sets.take(first)
    nesting, reverse, nmi, nested = _measured(parts, sets, task, num_tasks)
    draws = max(1, min(MOST_DRAWS, CHANCE_IMAGES // len(both)))
    shuffled = (keys.generator(0, "labels/chance", draw).permutation(task) for draw in range(draws))
    chance = np.mean([_measured(parts, sets, other, num_tasks)[:3] for other in shuffled], axis=0)
    return AlignmentFacts(
        images=len(both),
        classes=len(counts),
        task_classes=num_tasks,
        images_per_class=float(np.median(counts)),
        small_share=_small_share(common),
        nesting=nesting,
        nesting_by_chance=float(chance[0]),
        classes_nested=nested,
        reverse_nesting=reverse,
        reverse_by_chance=float(chance[1]),
        nmi=nmi,
        nmi_by_chance=float(chance[2]),
    )


def expected_direction(facts: AlignmentFacts, *, drawn: bool = False) -> Expectation:
    """What to expect of pre-training on a view for a task that it lies to in this way; `drawn` says
    that images were put into classes at random.

    A prior, not a measurement. Hong et al. 2023 found that finer labels help a coarser task as long
    as they are meaningful and nested in its classes, down to classes too small to be learned (the
    U); that labels coarser than the task lose features; and that labels which cut across its
    classes do worst. Where the turns are is not known from there (the thresholds are ours), and no
    rule knows what the images or the method need. A study measures it.
    """
    forward, back = facts.alignment, facts.reverse_alignment
    few = f"{_percent(facts.small_share)} of the images are in classes of fewer than {FEW_IMAGES}"
    partly = (
        ""
        if max(forward, back) >= NESTED
        else f", though the two agree only in part ({_percent(max(forward, back))} of what is "
        "beyond chance)"
    )
    if min(forward, back) >= (ALIGNED if facts.classes == facts.task_classes else NESTED):
        return Expectation(
            "matches", f"these are the task's own {facts.task_classes:,} classes{partly}"
        )
    crowded = facts.small_share > FEW_SHARE
    if crowded and facts.nesting_by_chance > HARDLY_TOLD:
        return Expectation("too fine", f"{few}, which are memorised rather than learned")
    if max(forward, back) < ALIGNED:
        by_chance = (
            f"{_percent(facts.nesting)} of the images are with their class's majority, "
            f"{_percent(facts.nesting_by_chance)} would be by chance"
        )
        return Expectation("not aligned", f"the labels cut across the task's classes: {by_chance}")
    if back > forward:
        lost = (
            f"{facts.classes:,} classes cannot tell the task's {facts.task_classes:,} apart, and "
            "features that only these need may not be learned"
        )
        return Expectation("too coarse", lost + partly)
    if crowded:
        return Expectation(
            "too fine",
            f"nested in the task's classes, but {few}, which are memorised rather than "
            f"learned{partly}",
        )
    if drawn:
        # Nested because it was drawn inside the classes of a level, and no more meaningful for it.
        return Expectation(
            "not aligned",
            f"drawn at random: {facts.classes:,} classes that tell no more than the level they "
            "were drawn in",
        )
    many = (
        ""
        if facts.classes >= MANY_CLASSES
        else f"; below about {MANY_CLASSES} classes clusters may do as well"
    )
    finer = (
        f"{facts.classes:,} classes within the task's {facts.task_classes:,}, "
        f"{facts.images_per_class:,.0f} images each (median)"
    )
    return Expectation("finer", f"{finer}: expected to help, hard images most{partly}{many}")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _beyond(value: float, chance: float) -> float:
    """(value - chance) / (1 - chance), at least 0; where chance is certain, 1 for certainty."""
    if chance >= 1 - 1e-9:
        return float(value >= 1 - 1e-9)
    return max(0.0, (value - chance) / (1 - chance))


def _small_share(targets: Targets) -> float:
    """Share of the images in classes with fewer than FEW_IMAGES, an image's labels weighted 1 /
    (number of them).
    """
    small = targets.counts < FEW_IMAGES
    if targets.sets is None:
        return float(targets.counts[small].sum() / len(targets))
    owner = np.repeat(np.arange(len(targets.sets)), targets.sets.sizes)
    of_set = np.bincount(
        owner, small[targets.sets.labels], minlength=len(targets.sets)
    ) / np.maximum(targets.sets.sizes, 1)
    return float(of_set[targets.codes].mean())


def _compressed(codes: Codes) -> tuple[Ints, int]:
    """The same classes (>= 0) numbered without gaps, and how many there are."""
    there = np.bincount(codes) > 0
    return (np.cumsum(there) - 1)[codes], int(there.sum())


def _equal_sets(sets: LabelSets) -> tuple[Ints, Ints]:
    """(int64 [num_sets]: a number that equal sets share, from 0; int64: one set of each number).

    Sets are compared label by label, exactly.
    """
    group, sizes = np.zeros(len(sets), dtype=np.int64), sets.sizes
    for place in range(int(sizes.max(initial=0))):
        has = sizes > place
        label = np.zeros(len(sets), dtype=np.int64)
        label[has] = sets.labels[sets.starts[:-1][has] + place] + 1
        group = np.unique(group * (int(sets.labels.max()) + 2) + label, return_inverse=True)[1]
    return group, np.unique(group, return_index=True)[1].astype(np.int64)


def _counted(a: Codes, b: Ints, num_b: int) -> tuple[Ints, Ints, NDArray[np.float64]]:
    """The pairs of classes that occur, a's ascending, and the images of each."""
    both = a.astype(np.int64) * num_b + b
    cells = (int(a.max()) + 1) * num_b
    if cells <= _DENSE_CELLS:
        dense = np.bincount(both, minlength=cells)
        pairs = np.flatnonzero(dense)
        counts = dense[pairs]
    else:
        pairs, counts = np.unique(both, return_counts=True)
    return pairs // num_b, pairs % num_b, counts.astype(np.float64)


def _measured(
    parts: Codes, sets: LabelSets | None, task: Ints, num_tasks: int
) -> tuple[float, float, float, float]:
    """(nesting, reverse nesting, NMI, share of the label classes that are nested).

    `parts` is each image's class, or its row in `sets`.
    """
    images = len(parts)
    a, b, weight = _counted(parts, task, num_tasks)
    reverse = _most(b, weight).sum() / images
    if sets is not None:
        spelled, sizes = sets.take(a), sets.sizes[a]
        pair, where = np.unique(
            spelled.labels.astype(np.int64) * num_tasks + np.repeat(b, sizes), return_inverse=True
        )
        a, b = pair // num_tasks, pair % num_tasks
        weight = np.bincount(where, np.repeat(weight / sizes, sizes)).astype(np.float64)
    met = np.bincount(a)
    return (
        float(_most(a, weight).sum() / images),
        float(reverse),
        _nmi(a, b, weight),
        float((met == 1).sum() / (met > 0).sum()),
    )


def _most(of: Ints, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [num_classes]: the largest weight of each class."""
    most = np.zeros(int(of.max()) + 1)
    np.maximum.at(most, of, weight)
    return most


def _nmi(a: Ints, b: Ints, weight: NDArray[np.float64]) -> float:
    """Mutual information of two classings over the arithmetic mean of their entropies, from the
    cells of their table; 1 for two single classes.
    """
    share = weight / weight.sum()
    of_a, of_b = np.bincount(a, share), np.bincount(b, share)
    entropies = -sum(float((p[p > 0] * np.log(p[p > 0])).sum()) for p in (of_a, of_b))
    if entropies <= 1e-12:
        return 1.0
    mutual = float((share * (np.log(share) - np.log(of_a[a]) - np.log(of_b[b]))).sum())
    return min(1.0, max(0.0, 2 * mutual / entropies))
