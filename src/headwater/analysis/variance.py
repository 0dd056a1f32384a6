"""What the uncertainty of the leader's lead is made of, and what would halve it.

Of the mean difference between the leader and its rivals, for other seeds, draws, test images and
tasks of the same kind:

    seed          arm x seed, and arm x seed x task: pre-training (and fine-tuning, which has the
                  same seed)
    draw          arm x draw within a seed: which images few-shot cells are given (and fine-tuning)
    fine-tuning   cells that repeat each other; without repeats it is part of seed and draw
    test images   which images are asked about; of each task the same ones for all arms and seeds
    task          arm x task: an arm may be better on one task and worse on another

What all arms share (easy tasks, lucky draws) is no part of a difference. Variances are estimated by
the method of moments: mean squares are set equal to what they expect, in tables with gaps by
fitting constants (Henderson's third method, Biometrics 9, 1953), and what comes out below 0 is 0.
Noise is taken to be alike in the leader and its rivals, and tasks to be a sample of their kind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.analysis.deciding import decide
from headwater.analysis.decision import Aim
from headwater.analysis.evidence import Evidence, Line, evidence_of
from headwater.analysis.halving import Budget, Ways, halvings
from headwater.analysis.lines import headline_of
from headwater.analysis.moments import arm_by_task, within_blocks
from headwater.analysis.noise import Cells, by_task, cells_of
from headwater.analysis.order import tuned_protocols
from headwater.analysis.words import listed

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from headwater.analysis.decision import Decision

    Floats = NDArray[np.float64]

SEED, DRAW, TUNING, IMAGES, TASK = "seed", "draw", "fine-tuning", "test images", "task"
_BOUND = "a bound, as if arms answered independently"
_MOST_RIVALS = 12
"""Rivals whose noise enters, the nearest ones [ours]."""


@dataclass(frozen=True)
class Component:
    """A part of the variance of the mean difference."""

    name: str
    """seed, draw, fine-tuning, test images or task."""
    variance: float | None
    """Of the mean difference, in squared shares; None where it cannot be told."""
    share: float | None
    """Of the sum of those that can be told."""
    number: float | None
    """How many there are now; of several numbers their (harmonic) mean."""
    note: str = ""
    """What it does not tell, in words."""

    @property
    def most(self) -> str:
        """'at most ' of a bound."""
        return "at most " if self.note == _BOUND else ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "variance": self.variance,
            "share": self.share,
            "number": self.number,
            "note": self.note,
        }


@dataclass(frozen=True)
class VarianceBudget:
    """Where the uncertainty of a lead comes from."""

    leader: str
    rivals: tuple[str, ...]
    components: tuple[Component, ...]
    variance: float
    """Of the mean difference: the sum of the components that can be told."""
    anywhere: Ways
    """The interval for other seeds, draws, test images and tasks of the same kind."""
    here: Ways
    """The interval for other seeds and draws on these test images and tasks."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `headwater decide --json` prints them under `variance`."""
        return {
            "leader": self.leader,
            "rivals": list(self.rivals),
            "components": [each.to_dict() for each in self.components],
            "variance": self.variance,
            "anywhere": self.anywhere.to_dict(),
            "here": self.here.to_dict(),
        }

    def sentences(self) -> tuple[str, str]:
        """(what it is made of, what halves it at the lowest price): the same words in the text and
        in the report.
        """
        parts = [
            f"{each.name} {each.most}{100 * each.share:.0f} %"
            for each in self.components
            if each.share is not None
        ]
        unknown = [f"{e.name} ({e.note})" for e in self.components if e.share is None]
        missing = f"; not told: {listed(unknown)}" if unknown else ""
        made_of = f"Variance of its lead: {listed(parts, most=5)}{missing}."
        here, anywhere = self.here, self.anywhere
        return made_of, (
            f"To halve its interval on these tasks (\u00b1 {_points(here.half)}): "
            f"{here.words()}; on others of their kind (\u00b1 {_points(anywhere.half)}): "
            f"{anywhere.words()}."
        )


def _points(half: float) -> str:
    return f"{100 * half:.1f} points"


def variance_budget(
    rows: pd.DataFrame | Evidence,
    aim: Aim | None = None,
    *,
    image_variance: float | None = None,
    decision: Decision | None = None,
) -> VarianceBudget | None:
    """The variance budget of the headline's lead; None where there is no interval.

    `image_variance` is the variance of the mean difference that is due to the test images, in
    squared shares; left out, it is that of the answers that the decision was made with (`decide`,
    answers). Where there are none, a bound stands in its place: p (1 - p) / n of both arms,
    as if they answered independently of each other (arms mostly agree, which makes it less), and
    no more than arms differ from task to task (95 % limit). The bound splits what differs from
    task to task for people to read; intervals and what halves them leave it in one piece, as
    knowing less must not make them narrower. `decision` is what `decide` says of these rows and
    this aim, where it is known already.
    """
    aim = aim or Aim()
    found = rows if isinstance(rows, Evidence) else evidence_of(rows)
    decision = decision or decide(found, aim, lines=False)
    line = headline_of(found, aim)
    if line is None or decision.best is None or not decision.behind:
        return None
    near = [name for name in decision.shortlist if name != decision.best]
    rivals = (near or [decision.runner_up or ""])[:_MOST_RIVALS]
    names = [arm.name for arm in line.arms]
    places = [names.index(name) for name in (decision.best, *rivals)]
    if image_variance is None and decision.new_images is not None:
        known = [decision.new_images.variances[name] for name in rivals]
        image_variance = float(np.mean(known))
    parts = _parts(line, found, aim, places, image_variance)
    if parts is None:
        return None
    budget, components = parts
    return VarianceBudget(
        leader=decision.best,
        rivals=tuple(rivals),
        components=components,
        variance=budget.total,
        anywhere=halvings(budget, line, found, places, aim.prices),
        here=halvings(budget.on_these(), line, found, places, aim.prices),
    )


def _parts(
    line: Line, found: Evidence, aim: Aim, places: list[int], image_variance: float | None
) -> tuple[Budget, tuple[Component, ...]] | None:
    """The budget, and its components for people; None where seeds do not tell any noise."""
    shares = line.shares(aim.weights)
    scores = line.scores[:, :, places]
    of_seeds = within_blocks(np.tensordot(shares, scores, axes=1)[None])
    counts = np.isfinite(scores).all(axis=0).sum(axis=0)
    if of_seeds.df < 1 or counts.min() < 1:
        return None
    num_seeds = float(2 / (1 / counts[0] + (1 / counts[1:]).mean()))
    cells = cells_of(line, found, places, shares)
    whole = max(of_seeds.mean_square, line.step(aim.weights) ** 2 / 12)  # as `certainty` has it
    below = cells.draw + cells.tuning
    seed = max(whole - below, 0.0)
    tasks, weights, of_tasks = by_task(line, scores, shares)
    among = arm_by_task(of_tasks) if len(tasks) > 1 else None
    spread = float((weights**2).sum())
    images = image_variance
    if image_variance is None:
        images = _of_images(line, found, scores, shares)
        if among is not None and images is not None:
            images = min(images, 2 * among.most * spread)
    among_tasks = 0.0 if among is None else 2 * among.effect * spread
    task = None if among is None else max(among_tasks - (images or 0.0), 0.0)
    seed_by_task = 0.0
    if among is not None:
        seed_by_task = min(seed, max(among.residual * spread - below, 0.0))
    of_each = list(_num_images(line, found).values())
    images_of_a_task = float(np.mean(of_each)) if of_each else np.nan
    budget = Budget(
        seed=2 * (seed - seed_by_task) / num_seeds,
        seed_by_task=2 * seed_by_task / num_seeds,
        draw=2 * cells.draw / num_seeds,
        tuning=2 * cells.tuning / num_seeds,
        images=images or 0.0,
        task=task or 0.0,
        num_seeds=num_seeds,
        num_draws=cells.num_draws,
        num_images=None if np.isnan(images_of_a_task) else images_of_a_task,
        num_tasks=len(tasks),
        seed_df=of_seeds.df,
        task_df=1.0 if among is None else among.df,
    )
    if image_variance is None and among is not None:
        beyond = max((images or 0.0) - among_tasks, 0.0)
        budget = replace(budget, images=beyond, task=among_tasks, bounded=images is not None)
    parts = _seed_parts(budget, cells, tuned=line.protocol in tuned_protocols())
    if images is None:
        parts.append(_Part(IMAGES, None, None, "the rows do not say how many there are"))
    else:
        note = _BOUND if image_variance is None else ""
        parts.append(_Part(IMAGES, images, budget.num_images, note))
    parts.append(_Part(TASK, task, len(tasks), "there is one" if task is None else ""))
    total = budget.total
    return budget, tuple(part.of(total) for part in parts)


def _seed_parts(budget: Budget, cells: Cells, *, tuned: bool) -> list[_Part]:
    """Seed, draw (where there are few-shot cells) and fine-tuning (of protocols that do it)."""
    parts = [_Part(SEED, budget.seed + budget.seed_by_task, budget.num_seeds)]
    if cells.num_draws > 1:
        parts.append(_Part(DRAW, budget.draw, budget.num_draws))
    elif cells.few_shot:
        parts.append(_Part(DRAW, None, 1, "part of seed, as each has one"))
    if cells.repeated:
        parts.append(_Part(TUNING, budget.tuning, None))
    elif tuned:
        inside = "seed and draw" if cells.num_draws > 1 else "seed"
        parts.append(_Part(TUNING, None, 1, f"part of {inside}, as no cell is repeated"))
    return parts


@dataclass(frozen=True)
class _Part:
    name: str
    variance: float | None
    number: float | None
    note: str = ""

    def of(self, total: float) -> Component:
        value = None if self.variance is None else float(self.variance)
        share = None if value is None else value / total if total > 0 else 0.0
        number = None if self.number is None else round(float(self.number), 6)
        return Component(self.name, value, share, number, self.note)


def _num_images(line: Line, found: Evidence) -> dict[str, float]:
    """Task -> its test images, NaN where rows do not say; nothing where nobody counted."""
    if found.spent is None:
        return {}
    numbers = found.spent.n_test[found.places_of(line)]
    return dict(zip((setting.task for setting in line.settings), numbers.tolist(), strict=True))


def _of_images(line: Line, found: Evidence, scores: Floats, shares: Floats) -> float | None:
    """A bound of the variance of the mean difference that is due to test images; settings of one
    task share theirs. None where rows do not say how many there are.
    """
    num_images = _num_images(line, found)
    if not num_images:
        return None
    tasks, weights, of_tasks = by_task(line, scores, shares)
    known = np.isfinite(of_tasks)
    means = np.where(known, of_tasks, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    own = means * (1 - means)
    both = own[:, 0] + own[:, 1:].mean(axis=1)
    bound = float((weights**2 * both / np.array([num_images[task] for task in tasks])).sum())
    return None if np.isnan(bound) else bound
