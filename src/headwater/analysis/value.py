"""What the next run is worth: by how much it is expected to lower the expected regret, an hour.

Each arm's true mean is taken to be Student's t around its mean, as P(best) takes it (the mean of
two posteriors, with variances of each arm and with one for all). A run that
adds n seeds to the n0 of an arm moves that arm's mean by a t variable of squared scale

    variance of a seed x n / (n0 (n0 + n))

whatever the truth is: the part of what is not known that the run tells (a preposterior analysis:
Raiffa and Schlaifer 1961; the knowledge gradient of Frazier, Powell and Dayanik, SIAM Journal on
Control and Optimization 47, 2008, here with means and variances of unequal arms). Then the arm with
the highest mean is chosen, so that the run is worth

    E[highest mean after it] - highest mean before it.

More draws tell a part of the noise of the seeds that there are, another task a part of how arms
differ from task to task, another size a part of how they differ from size to size. The expectation
is an integral over a grid, so that the same rows give the same numbers.

The value orders what is run in one go. It does not say when to look again: that is `power`'s rule,
which keeps the error of looking twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.chances import GRID
from headwater.analysis.halving import RunHours, run_hours
from headwater.analysis.moments import arm_by_task, within_blocks
from headwater.analysis.noise import by_task, cells_of
from headwater.analysis.power import HOURS_UNKNOWN, Step
from headwater.analysis.words import (
    count,
    hours_word,
    missing,
    money_word,
    rate_word,
    saved_word,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headwater.analysis.certainty import Certainty
    from headwater.analysis.configurations import Configuration
    from headwater.analysis.decision import Aim, Decision
    from headwater.analysis.evidence import Evidence, Line

    Floats = NDArray[np.float64]

_OF_A_SIZE = ("size", "images_seen", "unique_images")
"""Columns of an arm that another size or budget changes."""


def fall_of_regret(means: Floats, scales: Floats, df: Floats) -> float | None:
    """E[max_a (means_a + scales_a t_a)] - max(means), where t_a are independent Student's t of `df`
    degrees of freedom and a scale of 0 is an arm that stays where it is. All [arms]. None where
    that has no mean (a moving arm of one degree of freedom).
    """
    from scipy.special import stdtr

    moves = scales > 0
    if not moves.any():
        return 0.0
    if (df[moves] <= 1).any():
        return None
    top = float(means.max())
    unit = float(np.median(scales[moves]))
    grid = top + unit * GRID
    still = float(means[~moves].max()) if not moves.all() else -np.inf
    if -np.inf < still < top:
        grid = np.sort(np.append(grid, still))
    below = stdtr(df[moves], (grid[:, None] - means[moves]) / scales[moves]).prod(axis=1)
    # E[max] - top = the integral of P(max > x) above top minus that of P(max < x) below it
    above, under = grid >= top, (grid <= top) & (grid >= still)
    higher = np.trapezoid(1 - below[above], grid[above])
    lower = np.trapezoid(below[under], grid[under])
    return max(float(higher - lower), 0.0)


def moved_by_seeds(variances: Floats, seeds: Floats, more: Floats | int) -> Floats:
    """Scales by which more seeds move means; variances of one seed, all [arms]."""
    scales: Floats = np.sqrt(variances * more / (seeds * (seeds + more)))
    return scales


def fall_by_seeds(
    told: Certainty, near: NDArray[np.bool_], more: int, table: int = 0
) -> float | None:
    """What `more` seeds of each arm that is `near` [arms] save; the mean over posteriors."""
    seeds = told.num_seeds[table]
    return _mean_fall(
        told.means[table],
        [
            (np.where(near, moved_by_seeds(variances[table], seeds, more), 0.0), df[table])
            for variances, df in told.posteriors()
        ],
    )


def _mean_fall(means: Floats, moves: Sequence[tuple[Floats, Floats]]) -> float | None:
    falls = [fall_of_regret(means, scales, df) for scales, df in moves]
    known = [each for each in falls if each is not None]
    return sum(known) / len(known) if len(known) == len(falls) else None


def valued_steps(
    decision: Decision,
    arms: Sequence[Configuration],
    told: Certainty,
    line: Line,
    found: Evidence,
    aim: Aim,
) -> tuple[Step, ...]:
    """The steps of a decision with their values, and what else could be run in the same go: more
    draws, one more task, another size. What runs comes in falling order of its value an hour, and
    nothing is added where there is nothing to run.
    """
    if not decision.next or decision.next[0].kind != "seeds":
        return decision.next
    gone = _Gone(decision, tuple(arms), told, line, found, aim)
    first, *rest = decision.next
    runs = [gone.seeds(first), *gone.draws(), *gone.task(), *gone.size()]
    known = [run for run in runs if run.value_per_hour is not None]
    ordered = sorted(known, key=lambda run: -(run.value_per_hour or 0.0))
    unknown = [run for run in runs if run.value_per_hour is None]
    with_value = [run for run in unknown if run.kind == "seeds"]
    return (*with_value, *ordered, *rest, *(run for run in unknown if run.kind != "seeds"))


@dataclass(frozen=True)
class _Gone:
    """What is known before the next go."""

    decision: Decision
    arms: tuple[Configuration, ...]
    told: Certainty
    line: Line
    found: Evidence
    aim: Aim

    @property
    def near(self) -> NDArray[np.bool_]:
        """[arms]: the leader and its rivals, which would be run."""
        return np.array([arm.name in self.decision.shortlist for arm in self.arms])

    @property
    def places(self) -> list[int]:
        """Of those on the line."""
        names = [arm.name for arm in self.line.arms]
        return [names.index(name) for name in self.decision.shortlist]

    def seeds(self, step: Step) -> Step:
        """The advice on seeds, with what it is worth."""
        assert step.seeds is not None
        return self._worth(step, fall_by_seeds(self.told, self.near, step.seeds[0]))

    def draws(self) -> Iterator[Step]:
        """Twice the draws, of the seeds that there are."""
        shares = self.line.shares(self.aim.weights)
        cells = cells_of(self.line, self.found, self.places, shares)
        more = round(cells.num_draws)
        if more < 2 or cells.draw <= 0:
            return
        hours = self._hours(cells.num_draws).draw * more * self.decision.num_seeds
        told_by = more / (cells.num_draws + more) / self.told.num_seeds[0]
        moves = [
            (np.sqrt(np.minimum(cells.draw, variances[0]) * told_by), df[0])
            for variances, df in self.told.posteriors()
        ]
        text = f"Run {count(more, 'more few-shot draw')} of each cell of the shortlist"
        yield self._worth(self._run("draws", text, hours), self._fall(moves))

    def task(self) -> Iterator[Step]:
        """One more task like those that there are."""
        if len(self.line.tasks) < 2:
            return
        shares = self.line.shares(self.aim.weights)
        scores = self.line.scores[:, :, self.places]
        among = arm_by_task(by_task(self.line, scores, shares)[2])
        seeds, tasks = self.told.num_seeds[0], len(self.line.tasks)
        variance = among.effect + among.residual / seeds
        hours = self._hours(cells_of(self.line, self.found, self.places, shares).num_draws).task
        moved = np.sqrt(variance * (1 / tasks - 1 / (tasks + 1)))
        text = "Add one more task of the same kind for the shortlist (its images not counted)"
        run = self._run("tasks", text, hours * self.decision.num_seeds)
        fall = self._fall([(moved, np.full(len(self.arms), among.df))])
        yield self._worth(run, fall, " on tasks of this kind")

    def size(self) -> Iterator[Step]:
        """The same arms with twice the images or budget, where rows know how much the order changes
        from one to another.
        """
        known = _order_of_sizes(self.arms, self.told.means[0])
        hours = self._hours(1.0).seed * 2 * self.decision.num_seeds
        if known is None:
            text = (
                "Whether the order holds at other sizes is not known, as no two arms were run at "
                "the same two: run the shortlist with another number of images, or another budget."
            )
            yield Step("size", text, arms=self.decision.shortlist)
            return
        variance, df = known
        at_mean = self.told.variances[0] / self.told.num_seeds[0]
        change = 2 * max(variance - float(at_mean.mean()), 0.0)
        before = at_mean + change
        moved = before / np.sqrt(before + at_mean)
        text = "Run the shortlist with twice the images or budget"
        run = self._run("size", text, hours)
        yield self._worth(run, self._fall([(moved, np.full(len(self.arms), df))]), " at that size")

    def _with_seeds(self, an_hour: float | None) -> str:
        """That a run is no look of its own; one that saves more an hour comes before the seeds."""
        seeds = self.seeds(self.decision.next[0])
        rates = an_hour, seeds.value_per_hour
        if seeds.seeds is None or rates[0] is None or rates[1] is None or rates[0] <= rates[1]:
            return ", in the same go as the seeds, so that it is one look"
        more = count(seeds.seeds[0], "more seed")
        is_are = "is" if seeds.seeds[0] == 1 else "are"
        return f", in one go with the {more} that {is_are} advised as well, so that it is one look"

    def _hours(self, num_draws: float) -> RunHours:
        return run_hours(self.line, self.found, self.places, num_draws)

    def _run(self, kind: str, text: str, hours: float) -> Step:
        prices = self.decision.prices
        known = None if np.isnan(hours) else (float(hours), None)
        money = None
        if known is not None and prices is not None and prices.gpu_hour:
            money = (known[0] * prices.gpu_hour, None)
        price = HOURS_UNKNOWN if known is None else f", about {hours_word(known[0])} on one worker"
        price += "" if money is None else f" (price {money_word(money[0])})"
        text += price
        return Step(kind, text, arms=self.decision.shortlist, hours=known, money=money)

    def _fall(self, moves: Sequence[tuple[Floats, Floats]]) -> float | None:
        """Of (scales, degrees of freedom), of which arms that are not near keep none."""
        near = [(np.where(self.near, scales, 0.0), df) for scales, df in moves]
        return _mean_fall(self.told.means[0], near)

    def _worth(self, step: Step, value: float | None, where: str = "") -> Step:
        hours = None if step.hours is None else step.hours[0]
        money = None if step.money is None else step.money[0]
        an_hour = None if not hours or value is None else value / hours
        if step.kind != "seeds":
            step = replace(step, text=f"{step.text}{self._with_seeds(an_hour)}.")
        if value is None:
            return step
        small = 100 * value < 0.005
        rate = "" if an_hour is None or small else f", {rate_word(100 * an_hour)} an hour"
        worth = f"{saved_word(value)} points of regret on average{where}{rate}"
        return replace(
            step,
            text=f"{step.text} It saves {worth}.",
            value=value,
            value_per_hour=an_hour,
            value_per_money=None if not money else value / money,
        )


def _order_of_sizes(arms: Sequence[Configuration], means: Floats) -> tuple[float, float] | None:
    """(mean square, degrees of freedom) of arm x size, of arms that were run at two sizes or
    budgets or more; None where no two were at the same ones.
    """
    table: dict[str, dict[str, float]] = {}
    for arm, mean in zip(arms, means, strict=True):
        size = [arm.fields.get(key) for key in ("size", "images_seen")]
        if all(missing(each) for each in size):
            continue
        rest = {key: value for key, value in arm.fields.items() if key not in _OF_A_SIZE}
        family = table.setdefault(repr(sorted(rest.items())), {})
        family[repr(size)] = float(mean)
    several = [family for family in table.values() if len(family) > 1]
    columns = sorted(set().union(*several))
    if not columns:
        return None
    block = np.full((len(columns), len(several)), np.nan)
    for place, family in enumerate(several):
        for size_word, mean in family.items():
            block[columns.index(size_word), place] = mean
    left = within_blocks(block[None])
    return (left.mean_square, left.df) if left.df >= 1 else None
