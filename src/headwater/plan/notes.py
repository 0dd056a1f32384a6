"""What a person should know of a plan's arms before the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headwater.plan.images import held_out, probe_labels
from headwater.plan.planned import PlannedArm
from headwater.plan.resolved import Resolved


def notes_on_sources(resolved: Resolved) -> Iterator[str]:
    """What reading the study's data did that a person should know, such as files it left out."""
    for name, source in resolved.sources.items():
        for note in source.notes:
            yield f"data {name}: {note}"


def notes_on_losses(resolved: Resolved, arms: Sequence[PlannedArm]) -> Iterator[str]:
    """Supervised arms with different losses differ in more than their labels, so it is said.

    Softmax over sets of one is softmax.
    """
    views: dict[str, dict[str, None]] = {}
    for arm in arms:
        if arm.loss_name is not None:
            title = str(arm.words.labels)
            if len(resolved.study.sources) > 1:
                title += f" of {arm.words.source}"
            views.setdefault(arm.loss_name.removesuffix(" over sets"), {})[title] = None
    if len(views) > 1:
        clauses = ", ".join(_trains_with(list(titles), loss) for loss, titles in views.items())
        yield f"{clauses}; `recipe: {{supervised: {{loss: ...}}}}` holds it equal"


def _trains_with(titles: list[str], loss: str) -> str:
    return f"{' and '.join(titles)} {'train' if len(titles) > 1 else 'trains'} with {loss}"


def notes_on_the_probe(resolved: Resolved) -> Iterator[str]:
    """Where the online probe of a study is not asked."""
    words = resolved.study.online_probe
    if words is None:
        return
    for name in resolved.study.sources:
        if probe_labels(resolved, name) is None:
            yield (
                f"the online probe is not asked on source {name}, which has no labels "
                f"{words.labels}; its share is left out all the same"
            )
        elif not len(held_out(resolved, name)):
            yield (
                f"the online probe is not asked on source {name}: a share of {words.share} leaves "
                "out none of its few images"
            )


def notes_on_supports(supports: Sequence[PlannedArm]) -> list[str]:
    """Which arms are trained for others, each title once."""
    titles = dict.fromkeys(arm.words.title for arm in supports)
    return [
        f"{title} is trained for its features alone, by which others are labelled"
        for title in titles
    ]
