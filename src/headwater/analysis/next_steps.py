"""What to run next, so that the verdict becomes surer."""

from __future__ import annotations

from headwater.analysis.compare import Winner
from headwater.analysis.configurations import Configuration
from headwater.analysis.ground import Ground
from headwater.analysis.order import label_kind, tuned_protocols
from headwater.analysis.words import count, listed


def next_steps(ground: Ground, won: Winner) -> list[str]:
    """A sentence for each step; one that says so where nothing is needed."""
    steps = []
    if won.next_id is None:
        steps.append("Add an arm to compare with: another source, other labels, or scratch.")
    elif not won.decided:
        steps.append(_more_seeds(ground, won))
    if won.next_id is not None and all(each.method != "scratch" for each in ground.ranked):
        steps.append("Add a scratch arm: without one nobody can say what pre-training is worth.")
    steps += _beyond_the_end(ground, won)
    tuned = set(ground.table.loc[ground.table["protocol"].isin(tuned_protocols()), "task"])
    if only_frozen := sorted(set(ground.reused) - tuned):
        steps.append(
            f"Fine-tune on {listed(only_frozen)} as well: a frozen probe cannot compare labels "
            "there."
        )
    return steps or [
        "Nothing more is needed for this question; a larger budget or other tasks may change the "
        "answer."
    ]


def _more_seeds(ground: Ground, won: Winner) -> str:
    names = {each.id: each.name for each in ground.ranked}
    rivals = [names[rival] for rival in won.not_separated]
    if won.gap.num_seeds <= 1:
        return "Run at least 2 more seeds of every arm (3 in all): one seed has no interval."
    if won.seeds_needed is None:
        return (
            f"More seeds alone will hardly tell {names[won.best_id]} from {listed(rivals)}: "
            "choose the cheapest of them, or change the study."
        )
    pairs = listed([names[won.best_id], *rivals])
    return (
        f"Run about {count(won.seeds_needed, 'more seed')} of {pairs}: if the differences stay as "
        "they are, that tells them apart."
    )


def _beyond_the_end(ground: Ground, won: Winner) -> list[str]:
    """A peak at the end of what was tried asks for one view further."""
    best = next(each for each in ground.ranked if each.id == won.best_id)
    if label_kind(best.labels) != "level" or best.num_labels is None:
        return []
    tried = [
        each.num_labels
        for each in ground.ranked
        if each.num_labels is not None and _is_on_the_curve_of(best, each)
    ]
    if len(tried) < 2 or best.num_labels not in (min(tried), max(tried)):
        return []
    further = "finer" if best.num_labels == max(tried) else "coarser"
    return [f"Try {further} labels too: the best view is at the end of what was tried."]


def _is_on_the_curve_of(best: Configuration, each: Configuration) -> bool:
    return each.source == best.source and label_kind(each.labels) in ("level", "instance")
