"""How long arms are trained, so that a study fits a time on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from headwater.cost import estimate, measured
from headwater.engines.cores import default_workers
from headwater.plan import Plan
from headwater.proposal.arms import Design

FEWEST_EPOCHS, MOST_EPOCHS = 5, 100
"""Passes over the images of an arm [ours]: below the first little is learned, and small sets are
learned by heart above the second.
"""
FEWEST_SEEDS = 3
"""[ours] Two tell next to nothing of the noise."""
_FIRST_GUESS = 10
_SHARE = 0.9
"""Of the time that the whole study is planned for; a run by steps uses less of it, and what is
planned can be wrong by a fifth [ours].
"""


@dataclass(frozen=True)
class Timing:
    """A study's length on this machine."""

    design: Design
    """With as many seeds, and with fine-tuning, as the time allows."""
    epochs: int
    hours: float
    """Of all arms and seeds, with all workers at work."""
    workers: int
    images_per_s: float
    """Training images per second of one worker, as measured."""
    fits: bool
    why: tuple[str, ...]

    @property
    def images_seen(self) -> int:
        """Of each arm."""
        return self.epochs * self.design.images


def fitted(
    design: Design,
    planned: Callable[[Design, int], Plan],
    *,
    hours: float,
    device: str,
    workers: int | None,
) -> Timing:
    """The longest training that lets a study be run in so many hours; where even the shortest does
    not, fine-tuning is left out, then seeds.

    `planned(design, epochs)` plans the study.
    """
    needed = design.reuses_labels
    tried = [(design.seeds, design.finetune), (design.seeds, needed), (FEWEST_SEEDS, needed)]
    why: list[str] = []
    if needed:
        why.append(
            "a source is a task, too: the decision goes by fine-tuning, since a frozen probe "
            "favours an arm that was trained on the labels it is asked for"
        )
    for seeds, finetune in dict.fromkeys(tried):
        chosen = replace(design, seeds=seeds, finetune=finetune)
        found = _timed(chosen, planned, hours * _SHARE, device, workers)
        if found.fits:
            break
    if design.finetune and not found.design.finetune:
        why.append("fine-tuning is left out, since it does not fit the time: tasks are probed")
    if found.design.seeds < design.seeds:
        why.append(f"{found.design.seeds} seeds are all that fit the time")
    if not found.fits:
        why.append(
            f"even {FEWEST_EPOCHS} epochs with {FEWEST_SEEDS} seeds need about "
            f"{found.hours * 60:.0f} minutes, more than was given; give more time or fewer folders"
        )
    return replace(found, why=tuple(why))


def _timed(
    design: Design,
    planned: Callable[[Design, int], Plan],
    hours: float,
    device: str,
    workers: int | None,
) -> Timing:
    plan = planned(design, _FIRST_GUESS)
    encoder = measured(plan, device)
    count = workers or default_workers(encoder.device)
    both = estimate(plan, plan.every_arm, plan.cells, encoder, workers=count).hours
    fixed = estimate(plan, (), plan.cells, encoder, workers=count).hours
    an_epoch = (both - fixed) / _FIRST_GUESS
    longest = (hours - fixed) / an_epoch if an_epoch > 0 else MOST_EPOCHS
    epochs = int(min(MOST_EPOCHS, max(FEWEST_EPOCHS, longest)))
    return Timing(
        design,
        epochs,
        fixed + epochs * an_epoch,
        count,
        encoder.images_per_s,
        longest >= FEWEST_EPOCHS,
        (),
    )
