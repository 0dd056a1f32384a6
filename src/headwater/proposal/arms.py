"""Which arms, sizes, shots and protocols make sense of what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headwater.errors import InputError
from headwater.labels.tokens import read
from headwater.proposal.folders import Level, Seen
from headwater.proposal.splits import SeenTask
from headwater.sources.formats import counted

MOST_LEVELS = 3
"""Label views of a source: the coarsest, the finest and one between [ours]."""
SHOTS = (5, 2, 1)
"""Few-shot settings, the first that every task's classes allow [ours; 5 is the paper's smallest
but one].
"""
FEWEST_IMAGES = 10
"""Of a source: fewer teach nothing, and would be all that the others are given [ours]."""
SEEDS = 5
"""[ours] Steps give the arms in doubt as many; see benchmarks/decide.md for what they tell."""


_MUCH = 4
"""Times the smallest source's images: what is then left over is told [ours]."""


@dataclass(frozen=True)
class SourceArms:
    """What a source is pre-trained with."""

    seen: Seen
    splits: tuple[str, ...]
    images: int
    methods: tuple[str, ...]
    labels: tuple[str, ...]
    why: tuple[str, ...]
    """A sentence for each choice."""


@dataclass(frozen=True)
class Design:
    """A study without its length."""

    sources: tuple[SourceArms, ...]
    tasks: tuple[SeenTask, ...]
    size: int | None
    """Images of each source; None where all of one source are used."""
    few: int | None
    """Shots of the few-shot setting; None where classes allow none."""
    seeds: int
    finetune: bool

    @property
    def images(self) -> int:
        """Images that each arm is trained on."""
        return self.size or self.sources[0].images

    @property
    def reuses_labels(self) -> bool:
        """Whether a source is a task, too: a frozen probe on labels that an arm was trained on
        decides nothing (docs/transfer.md), so that fine-tuning has to.
        """
        trained = {source.seen.name for source in self.sources if source.labels}
        return any(each.seen.name in trained for each in self.tasks)

    @property
    def left_over(self) -> str | None:
        """A sentence, where the smallest source keeps others from most of their images."""
        least = min(self.sources, key=lambda source: source.images)
        most = max(self.sources, key=lambda source: source.images)
        if most.images < _MUCH * least.images:
            return None
        return (
            f"every source is given {least.images:,} images, since {least.seen.name} has no more; "
            f"that is {least.images / most.images:.0%} of what {most.seen.name} has: leave "
            f"{least.seen.name} out to compare the others at more, or add `all` to `sizes`"
        )

    @property
    def methods(self) -> tuple[str, ...]:
        """Of all sources, and no pre-training."""
        asked = [method for source in self.sources for method in source.methods]
        order = ("supervised", "clip", "simclr")
        return ("scratch", *(method for method in order if method in asked))


def design(sources: Sequence[Seen], tasks: Sequence[SeenTask], *, finetune: bool) -> Design:
    """The arms that folders allow. Raises InputError for a source with fewer than two images."""
    arms = tuple(_arms_of(seen) for seen in sources)
    sizes = {source.images for source in arms}
    allowed = [shots for shots in SHOTS if _allow(tasks, shots)]
    few = allowed[0] if allowed else None
    size = min(sizes) if len(sizes) > 1 else None
    made = Design(arms, tuple(tasks), size, few, SEEDS, finetune)
    return replace(made, finetune=finetune or made.reuses_labels)


def _arms_of(seen: Seen) -> SourceArms:
    positions = seen.train
    if len(positions) < FEWEST_IMAGES:
        images = counted(len(positions), "image")
        raise InputError(
            f"{seen.path}: has {images} to pre-train on, and every source is given as few as the "
            f"smallest one has; at least {FEWEST_IMAGES} are needed, or leave it out"
        )
    methods, why = ["simclr"], []
    labels = _chosen([level for level in seen.levels if level.worth_an_arm])
    if labels:
        methods.insert(0, "supervised")
    elif seen.levels:
        why.append("its classes hold fewer than 5 images, so that labels teach nothing in common")
    else:
        why.append("it has no classes: images alone")
    if seen.captions is not None:
        if not read(seen.source.table.texts[seen.captions][positions].tolist()).one:
            methods.insert(-1, "clip")
        else:
            why.append(f"its {seen.captions} are one text to the model, so there is no CLIP arm")
    return SourceArms(
        seen,
        seen.pretrain_splits,
        _readable(seen),
        tuple(methods),
        tuple(level.view for level in labels),
        tuple(why),
    )


def _readable(seen: Seen) -> int:
    """Images to pre-train on that can be read for sure, or nearly so where not all were opened."""
    images = len(seen.train)
    return images if seen.opening is None else int(images * (1 - seen.bad_share))


def _chosen(levels: Sequence[Level]) -> list[Level]:
    """At most MOST_LEVELS of some levels: the ends, and what lies between in the middle."""
    if len(levels) <= MOST_LEVELS:
        return list(levels)
    return [levels[0], levels[len(levels) // 2], levels[-1]]


def _allow(tasks: Sequence[SeenTask], shots: int) -> bool:
    """Whether every class of every task has so many training images."""
    try:
        for each in tasks:
            each.task.check_shots(shots, cap=False)
    except InputError:
        return False
    return True
