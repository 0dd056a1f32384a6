"""What else to run, beside seeds, so that the verdict becomes surer."""

from __future__ import annotations

from headwater.analysis.configurations import Configuration
from headwater.analysis.evidence import Evidence, Line
from headwater.analysis.order import tuned_protocols
from headwater.analysis.words import listed


def further_steps(
    line: Line, best: Configuration, found: Evidence, *, has_steps: bool
) -> list[str]:
    """A sentence for each step; one that says so where nothing is needed, unless there are steps
    before these.
    """
    steps = []
    if len(line.arms) == 1:
        steps.append("Add an arm to compare with: another source, other labels, or scratch.")
    elif all(arm.method != "scratch" for arm in line.arms):
        steps.append("Add a scratch arm: without one nobody can say what pre-training is worth.")
    steps += _beyond_the_end(line, best)
    tuned = {s.task for s in found.settings if s.protocol in tuned_protocols()}
    reused = {task for task, protocol in found.tainted if protocol == line.protocol}
    if only_frozen := sorted(reused - tuned):
        steps.append(
            f"Fine-tune on {listed(only_frozen)} as well: a frozen probe cannot compare labels "
            "there."
        )
    if steps or has_steps:
        return steps
    return [
        "Nothing more is needed for this question; a larger budget or other tasks may change the "
        "answer."
    ]


def _beyond_the_end(line: Line, best: Configuration) -> list[str]:
    """A peak at the end of what was tried asks for one view further."""
    if best.label_kind != "level" or best.num_labels is None:
        return []
    tried = [
        arm.num_labels
        for arm in line.arms
        if arm.num_labels is not None and _is_on_the_curve_of(best, arm)
    ]
    if len(tried) < 2 or best.num_labels not in (min(tried), max(tried)):
        return []
    if best.num_labels == min(tried):
        return ["Try coarser labels too: the best view is at the end of what was tried."]
    return [
        "Try finer labels too: the best view is the finest of those that were tried. Where the "
        "source has no finer level, clusters within its classes are a guess at one (cluster:K "
        "within level:0)."
    ]


def _is_on_the_curve_of(best: Configuration, arm: Configuration) -> bool:
    return arm.source == best.source and arm.label_kind in ("level", "instance")
