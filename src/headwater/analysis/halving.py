"""What halves an interval, and what that costs: more seeds, draws, test images or tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.analysis.intervals import SEARCH_LIMIT
from headwater.analysis.leads import LEVEL
from headwater.analysis.words import count, hours_word, money_word

if TYPE_CHECKING:
    from headwater.analysis.evidence import Evidence, Line
    from headwater.analysis.prices import Prices

SEEDS, DRAWS, IMAGES, TASKS, BOTH = "seeds", "draws", "test images", "tasks", "seeds and draws"
_MOST_PERCENT = 10_000
"""Of the test images that there are [ours]."""
CANNOT, BEYOND = "cannot alone", "too many"
UNKNOWN = "not known, as their part is a bound"


@dataclass(frozen=True)
class Budget:
    """Parts of the variance of a mean difference, and how many of each there are."""

    seed: float
    seed_by_task: float
    """The part of the seeds that differs from task to task, so that tasks average it away too."""
    draw: float
    tuning: float
    images: float
    task: float
    num_seeds: float
    num_draws: float
    num_images: float | None
    """Test images of a task."""
    num_tasks: int
    seed_df: float
    task_df: float
    these: bool = False
    """Whether test images and tasks stay these ones."""
    bounded: bool = False
    """Whether what test images do is a bound. Then `task` has all that differs from task to task,
    theirs too, as that is measured, and `images` is what the bound allows beyond it.
    """

    def on_these(self) -> Budget:
        """For these test images and tasks: other ones are no part of it."""
        return replace(self, images=0.0, task=0.0, these=True)

    @property
    def total(self) -> float:
        within = self.seed + self.seed_by_task + self.draw + self.tuning
        return within + self.images + self.task

    def half(self) -> float:
        """Half the width of a 95 % interval; degrees of freedom are Satterthwaite's (Biometrics 2,
        1946), n - 1 for n test images.

        A part of many degrees of freedom beside one of few makes t smaller by more than it adds,
        so that it would narrow the interval. More to be unsure of never does: it is the widest of
        those with and without test images and tasks.
        """
        return max(
            self._half_of(images, task)
            for images in {0.0, self.images}
            for task in {0.0, self.task}
        )

    def _half_of(self, images: float, task: float) -> float:
        from scipy.special import stdtrit

        within = self.seed + self.seed_by_task + self.draw + self.tuning
        total = within + images + task
        if total <= 0:
            return 0.0
        images_df = math.inf if self.num_images is None else max(self.num_images - 1, 1.0)
        spread = within**2 / self.seed_df + task**2 / self.task_df + images**2 / images_df
        df = total**2 / spread if spread > 0 else 1e9
        return float(-stdtrit(df, (1 - LEVEL) / 2)) * math.sqrt(total)

    def with_seeds(self, seeds: float) -> Budget:
        ratio = self.num_seeds / seeds
        return replace(
            self,
            seed=self.seed * ratio,
            seed_by_task=self.seed_by_task * ratio,
            draw=self.draw * ratio,
            tuning=self.tuning * ratio,
            num_seeds=seeds,
            seed_df=self.seed_df * (seeds - 1) / max(self.num_seeds - 1, 1e-9),
        )

    def with_draws(self, draws: float) -> Budget:
        ratio = self.num_draws / draws
        return replace(self, draw=self.draw * ratio, tuning=self.tuning * ratio, num_draws=draws)

    def with_images(self, images: float) -> Budget:
        assert self.num_images is not None
        return replace(self, images=self.images * self.num_images / images, num_images=images)

    def with_tasks(self, tasks: int) -> Budget:
        ratio = self.num_tasks / tasks
        return replace(
            self,
            seed_by_task=self.seed_by_task * ratio,
            draw=self.draw * ratio,
            tuning=self.tuning * ratio,
            images=self.images * ratio,
            task=self.task * ratio,
            num_tasks=tasks,
            task_df=self.task_df * (tasks - 1) / max(self.num_tasks - 1, 1),
        )


@dataclass(frozen=True)
class Halving:
    """A way to halve the interval."""

    name: str
    """seeds, draws, test images, tasks, or seeds and draws."""
    needed: dict[str, int] | None
    """How many of each there have to be in all; None where this way alone does not do it."""
    hours: float | None
    """What running them takes on one worker; None where rows do not say (of test images never)."""
    money: float | None
    """What they cost at the prices that were given; None where that is not known. Of tasks never,
    as nobody knows what their images cost.
    """
    why: str = ""
    """cannot alone (other parts are too large), too many (beyond what anybody runs) or not known
    (of test images whose part is a bound).
    """

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "needed": self.needed,
            "hours": self.hours,
            "money": self.money,
            "why": self.why,
        }

    def words(self) -> str:
        """'9 seeds in all (2.3 hours)'."""
        if self.needed is None:
            return self.why
        numbers = [
            f"{number:,} {what}" if what == IMAGES else count(number, what.removesuffix("s"))
            for what, number in self.needed.items()
        ]
        each = {IMAGES: " a task", DRAWS: " of each seed", BOTH: " of each"}.get(self.name, "")
        costs = [
            *([] if self.hours is None else [hours_word(self.hours)]),
            *([] if self.money is None else [f"price {money_word(self.money)}"]),
        ]
        if self.hours is None and self.name not in (TASKS, IMAGES):
            costs = ["hours not known"]
        cost = f" ({', '.join(costs)})" if costs else ""
        if self.name in (TASKS, IMAGES) and self.money is None:
            cost += ", and what the images of these cost"
        return f"{' with '.join(numbers)}{each} in all{cost}"


@dataclass(frozen=True)
class Ways:
    """How an interval can be halved."""

    half: float
    """Half its width now."""
    ways: tuple[Halving, ...]
    """One way at a time, and seeds and draws together."""
    cheapest: Halving | None
    """The way that costs least; None where none is known to do it, or several do and rows do not
    say what they cost.
    """

    def words(self) -> str:
        """The cheapest way, or why none is named."""
        if self.cheapest is not None:
            return self.cheapest.words()
        if any(way.needed is not None for way in self.ways):
            return "which way is the cheapest is not known"
        return "nothing that is known"

    def to_dict(self) -> dict[str, Any]:
        return {
            "half": self.half,
            "halvings": [each.to_dict() for each in self.ways],
            "cheapest": None if self.cheapest is None else self.cheapest.name,
        }


@dataclass(frozen=True)
class RunHours:
    """Of several arms together; NaN where rows do not say."""

    seed: float
    """Of one seed with all its cells."""
    draw: float
    """Of one more draw of one seed, in all settings that have draws."""
    task: float
    """Of one more task, for one seed."""


def halvings(
    budget: Budget, line: Line, found: Evidence, places: list[int], prices: Prices | None
) -> Ways:
    """Each way by itself, and seeds and draws together. The cheapest by money where hours have a
    price, else by hours. Tasks, whose images have a cost of their own, come last.
    """
    hours = run_hours(line, found, places, budget.num_draws)
    an_hour = 0.0 if prices is None else prices.gpu_hour
    ways = tuple(
        replace(each, money=each.hours * an_hour)
        if an_hour and each.hours is not None and each.name != TASKS
        else each
        for each in _ways(budget, hours, prices)
    )
    able = [way for way in ways if way.needed is not None]
    costs = [
        (cost, place)
        for place, way in enumerate(able)
        if (cost := way.money if an_hour else way.hours) is not None and way.name != TASKS
    ]
    if costs:
        cheapest: Halving | None = able[min(costs)[1]]
    else:
        runs = [way for way in able if way.name in (SEEDS, DRAWS, BOTH)]
        others = [way for way in able if way.name == IMAGES]
        unknown = bool(runs) and len(runs) + len(others) > 1
        cheapest = None if unknown else next(iter(able), None)
    return Ways(budget.half(), ways, cheapest)


def _ways(budget: Budget, hours: RunHours, prices: Prices | None) -> Iterator[Halving]:
    seeds, draws = round(budget.num_seeds), round(budget.num_draws)
    found = _needed(budget, seeds, lambda number: budget.with_seeds(number))
    yield _way(SEEDS, found, lambda number: (number - seeds) * hours.seed)
    if draws > 1:
        found = _needed(budget, draws, lambda number: budget.with_draws(number))
        yield _way(DRAWS, found, lambda number: (number - draws) * seeds * hours.draw)
    if budget.bounded and budget.num_tasks > 1 and not budget.these:
        yield Halving(IMAGES, None, None, None, UNKNOWN)
    elif budget.num_images is not None and budget.images > 0:
        yield _more_images(budget, prices)
    if budget.num_tasks > 1 and not budget.these:
        found = _needed(budget, budget.num_tasks, lambda number: budget.with_tasks(number))
        yield _way(TASKS, found, lambda number: (number - budget.num_tasks) * seeds * hours.task)
    if draws > 1 and (both := _together(budget, hours, seeds, draws)) is not None:
        yield both


def _needed(
    budget: Budget, now: int, more: Callable[[int], Budget], most: int = SEARCH_LIMIT
) -> int | str:
    """How many there have to be in all, or why more of them do not halve the interval."""
    target = budget.half() / 2
    if target <= 0 or more(10**9).half() > target:
        return CANNOT
    low, high = now, now + most
    if more(high).half() > target:
        return BEYOND
    while high - low > 1:  # the width falls with their number
        middle = (low + high) // 2
        low, high = (low, middle) if more(middle).half() <= target else (middle, high)
    return high


def _way(name: str, found: int | str, cost: Callable[[int], float]) -> Halving:
    if isinstance(found, str):
        return Halving(name, None, None, None, found)
    hours = cost(found)
    return Halving(name, {name: found}, None if math.isnan(hours) else hours, None)


def _more_images(budget: Budget, prices: Prices | None) -> Halving:
    """What test images cost is known where they have a price, and a label one for all views."""
    assert budget.num_images is not None
    now = budget.num_images
    found = _needed(
        budget, 100, lambda percent: budget.with_images(now * percent / 100), most=_MOST_PERCENT
    )
    if isinstance(found, str):
        return Halving(IMAGES, None, None, None, found)
    needed = math.ceil(now * found / 100)
    money = None
    if prices is not None and isinstance(prices.label, int | float):
        an_image = prices.image + prices.label
        money = (needed - now) * budget.num_tasks * an_image if an_image > 0 else None
    return Halving(IMAGES, {IMAGES: needed}, None, money)


def _together(budget: Budget, hours: RunHours, seeds: int, draws: int) -> Halving | None:
    """The cheapest number of seeds and draws: for each number of draws the fewest seeds."""
    if math.isnan(hours.seed) or math.isnan(hours.draw):
        return None
    best: tuple[float, int, int] | None = None
    for more in range(draws + 1, 10 * draws + 1):
        drawn = budget.with_draws(more)
        found = _fewest_seeds(budget, drawn, seeds)
        if found is None:
            continue
        cost = (found - seeds) * hours.seed + found * (more - draws) * hours.draw
        if found > seeds and (best is None or cost < best[0]):
            best = cost, found, more
    if best is None:
        return None
    return Halving(BOTH, {SEEDS: best[1], DRAWS: best[2]}, best[0], None)


def _fewest_seeds(budget: Budget, drawn: Budget, seeds: int) -> int | None:
    target = budget.half() / 2
    if drawn.half() <= target:
        return seeds
    low, high = seeds, seeds + SEARCH_LIMIT
    if drawn.with_seeds(high).half() > target:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if drawn.with_seeds(middle).half() <= target else (middle, high)
    return high


def run_hours(line: Line, found: Evidence, places: list[int], num_draws: float) -> RunHours:
    """Of the arms at these places of a line, together."""
    arms = [found.place_of(line.arms[place]) for place in places]
    if found.spent is None:
        return RunHours(float(found.hours[arms].sum()), math.nan, math.nan)
    settings = found.places_of(line)
    cells = found.spent.cells[np.ix_(settings, arms)].sum(axis=1)
    drawn = np.array([setting.shots != -1 for setting in line.settings])
    draws = np.where(drawn, num_draws, 1.0)
    return RunHours(
        seed=float(found.hours[arms].sum()),
        draw=float(cells[drawn].sum()) if drawn.any() else math.nan,
        task=float((cells * draws).sum()) / len(line.tasks),
    )
