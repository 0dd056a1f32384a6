"""What a run is said to be worth, against what it does: tables for benchmarks/decide.py."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.analysis import Aim, certainty_of, decide
from headwater.analysis.configurations import Configuration
from headwater.analysis.draws import over_draws
from headwater.analysis.evidence import Evidence, Setting
from headwater.analysis.spent import Spent
from headwater.analysis.value import fall_by_seeds

Floats = NDArray[np.float64]
SEEDS, MORE = 3, 5
LEADS = (0.0, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Fall:
    """Mean fall of regret by more seeds of the shortlist, in points."""

    title: str
    predicted: float
    realised: float
    error: float
    """Monte-Carlo error of the realised one."""


def falls_table(tables: int, rng: np.random.Generator) -> list[list[str]]:
    """Rows of 5 and of 25 arms: title, predicted, realised with its error."""
    every = [(arms, fall) for arms in (5, 25) for fall in falls(arms, tables, rng)]
    return [
        [
            f"{arms} arms, {fall.title}",
            f"{fall.predicted:.3f}",
            f"{fall.realised:.3f} \u00b1 {fall.error:.3f}",
        ]
        for arms, fall in every
    ]


def falls(arms: int, tables: int, rng: np.random.Generator) -> list[Fall]:
    """Arms of own SD 1 and 3 seeds; 5 more seeds of those on the shortlist, then the highest mean
    is chosen again. Truths: one arm ahead of equal others by a lead, the others spread by SD 1
    below one that leads, or all spread by SD 2.
    """
    found = []
    for lead in LEADS:
        truth = np.zeros((tables, arms))
        truth[:, 0] = lead
        found.append(_fall(f"lead {lead:g}, others equal", truth, rng))
    for spread in (0.5, 1.0, 2.0):
        truth = spread * rng.normal(size=(tables, arms))
        found.append(_fall(f"all spread by SD {spread:g}", truth, rng))
    return found


def _fall(title: str, truth: Floats, rng: np.random.Generator) -> Fall:
    tables, arms = truth.shape
    scores = truth[:, None, :] + rng.normal(size=(tables, SEEDS, arms))
    told = certainty_of(scores)
    near = told.shortlist
    predicted = np.zeros(tables)
    for at in range(tables):
        predicted[at] = fall_by_seeds(told, near[at], MORE, at) or 0.0
    added = truth + rng.normal(size=(tables, arms)) / MORE**0.5
    after = np.where(near, (SEEDS * told.means + MORE * added) / (SEEDS + MORE), told.means)
    every = np.arange(tables)
    saved = truth[every, after.argmax(axis=1)] - truth[every, told.best]
    return Fall(
        title,
        float(predicted.mean()),
        float(saved.mean()),
        float(saved.std() / tables**0.5),
    )


@dataclass(frozen=True)
class World:
    """Where candidates differ: SDs of arms, seeds, draws and tasks in points, costs in hours."""

    title: str
    arm: float
    seed: float
    draw: float
    task: float
    training: float
    cell: float
    tasks: int = 3


WORLDS = (
    World("one task, noise of seeds, cells cost as much", 1.0, 2.0, 0.5, 0.0, 0.3, 0.3, 1),
    World("one task, noise of draws, cells cost little", 1.0, 0.3, 4.0, 0.0, 3.0, 0.01, 1),
    World("noise of seeds, cells cost as much", 1.0, 2.0, 0.5, 0.2, 0.3, 0.3),
    World("noise of draws, cells cost little", 1.0, 0.5, 4.0, 0.2, 3.0, 0.01),
    World("tasks differ, cells cost little", 3.0, 1.0, 1.0, 4.0, 3.0, 0.01),
    World("tasks differ, cells cost as much", 3.0, 1.0, 1.0, 4.0, 0.3, 0.3),
)
ARMS, DRAWS, FUTURES = 5, 5, 200


@dataclass(frozen=True)
class Ranking:
    """Which candidate comes first, and which saves most an hour when it is run."""

    title: str
    first: str
    """The candidate that is ranked first most often."""
    share: float
    """Of tables in which the one ranked first is the one that saves most on average, or is within
    two Monte-Carlo errors and a factor of 4 of it.
    """
    best: str
    rates: dict[str, tuple[float, float]]
    """Candidate -> (points that it saves an hour, on average over tables; Monte-Carlo error)."""
    tables: int

    def cells(self) -> list[str]:
        rates = [f"{kind} {rate:.2g} \u00b1 {e:.1g}" for kind, (rate, e) in self.rates.items()]
        share = f"{100 * self.share:.0f} % of {self.tables}"
        return [self.title, self.first, self.best, share, ", ".join(rates)]


HEADS = ["world", "first most often", "saves most an hour", "first in", "points an hour"]


def rankings(tables: int, rng: np.random.Generator) -> list[Ranking]:
    return [ranking(world, tables, rng) for world in WORLDS]


def ranking(world: World, tables: int, rng: np.random.Generator) -> Ranking:
    """Tables of 5 arms, 3 seeds and 5 draws that `decide` advises seeds for; each of its
    candidates is run in 200 futures, the highest mean is chosen again, and its true regret
    is measured.
    """
    firsts: Counter[str] = Counter()
    saved: dict[str, list[float]] = {}
    hours: dict[str, list[float]] = {}
    number = 0
    while number < tables:
        made = _Made.drawn(world, rng)
        decision = decide(made.evidence(), Aim(tolerance=0.0), lines=False)
        runs = [step for step in decision.next if step.value_per_hour is not None]
        if len(runs) < 2:
            continue
        number += 1
        firsts[runs[0].kind] += 1
        near = np.array([f"arm{arm}" in decision.shortlist for arm in range(ARMS)])
        for step in runs:
            assert step.hours is not None
            seeds = 0 if step.seeds is None else step.seeds[0]
            saved.setdefault(step.kind, []).append(made.saved(step.kind, seeds, near, rng))
            hours.setdefault(step.kind, []).append(step.hours[0])
    rates = {kind: _rate(np.array(saved[kind]), np.array(hours[kind])) for kind in saved}
    best = max(rates, key=lambda kind: rates[kind][0])
    top, error = rates[best]
    good = [kind for kind, (rate, e) in rates.items() if top - rate <= 2 * np.hypot(error, e)]
    share = sum(firsts[kind] for kind in good if rates[kind][0] > top / 4) / number
    return Ranking(world.title, firsts.most_common(1)[0][0], share, best, rates, number)


def _rate(saved: Floats, hours: Floats) -> tuple[float, float]:
    rate = saved / hours.mean()
    return float(rate.mean()), float(rate.std() / len(rate) ** 0.5)


@dataclass(frozen=True)
class _Made:
    world: World
    truth: Floats
    """[arms]: over all tasks of the kind."""
    by_task: Floats
    """[tasks, arms]: what each task adds."""
    by_seed: Floats
    """[seeds, arms]"""
    scores: Floats
    """[tasks, seeds, draws, arms], in points."""

    @classmethod
    def drawn(cls, world: World, rng: np.random.Generator) -> _Made:
        truth = world.arm * rng.normal(size=ARMS)
        by_task = world.task * rng.normal(size=(world.tasks, ARMS))
        by_seed = world.seed * rng.normal(size=(SEEDS, ARMS))
        means = 50 + truth + by_task[:, None, None] + by_seed[None, :, None]
        noise = world.draw * rng.normal(size=(world.tasks, SEEDS, DRAWS, ARMS))
        return cls(world, truth, by_task, by_seed, means + noise)

    def evidence(self) -> Evidence:
        names = [f"arm{arm}" for arm in range(ARMS)]
        draws, tasks = self.scores / 100, self.world.tasks
        return Evidence(
            arms=tuple(
                Configuration(name, name, name, "supervised", "s", None, None, "tiny", "32")
                for name in names
            ),
            seeds=tuple(range(SEEDS)),
            settings=tuple(Setting(f"task{task}", "probe", 5) for task in range(tasks)),
            scores=over_draws(draws),
            steps=np.zeros(tasks),
            chance=np.zeros(tasks),
            tainted=frozenset(),
            diverged={},
            copies=(),
            hours=np.full(ARMS, self.world.training + tasks * DRAWS * self.world.cell),
            leak_free=frozenset(),
            draws=draws,
            spent=Spent(
                training=np.full(ARMS, self.world.training),
                images=np.full(ARMS, 1e3),
                cells=np.full((tasks, ARMS), self.world.cell),
                n_test=np.full(tasks, 1e6),
            ),
        )

    def saved(
        self, kind: str, seeds: int, near: NDArray[np.bool_], rng: np.random.Generator
    ) -> float:
        """How much less regret the arm has that is chosen after the run, the mean over futures; of
        a task on other tasks of the kind, else on these.
        """
        world, tasks = self.world, self.world.tasks
        means = self.scores.mean(axis=(0, 1, 2))
        here = self.truth + self.by_task.mean(axis=0)
        own, drawn, other = rng.normal(size=(3, FUTURES, ARMS))
        if kind == "seeds":
            variance = world.seed**2 + world.draw**2 / (tasks * DRAWS)
            new = 50 + here + own * (variance / seeds) ** 0.5
            after = (SEEDS * means + seeds * new) / (SEEDS + seeds)
        elif kind == "draws":
            noise = world.draw * drawn / (tasks * SEEDS * DRAWS) ** 0.5
            after = (means + 50 + here + self.by_seed.mean(axis=0) + noise) / 2
        else:
            noise = world.task * other + world.draw * drawn / (SEEDS * DRAWS) ** 0.5
            new = 50 + self.truth + self.by_seed.mean(axis=0) + noise
            after = (tasks * means + new) / (tasks + 1)
        target = self.truth if kind == "tasks" else here
        chosen = np.where(near, after, means).argmax(axis=1)
        return float((target[chosen] - target[means.argmax()]).mean())
