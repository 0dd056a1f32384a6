"""What a decision stands on: the scores of every arm, seed by seed, made once from rows.

    settings   task x protocol x shots
    a line     a protocol at a number of shots, over the tasks that its arms share
    arms       configurations; label kind and level are columns of theirs
    scores     one number for each setting, seed and arm: draws are averaged first

What enters is said here and nowhere else. A number without the test images that pre-training has
seen (`unleaked`) stands before the one with them. Each task has its own metric. A task in which a
frozen encoder met its own labels is set aside for all. A run that diverged counts as what it is
worth: the share of the most frequent class. A seed that is a copy of another one counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.analysis.configurations import (
    LOWER_IS_BETTER,
    Configuration,
    configurations,
    prepare,
)
from headwater.analysis.copied import COPIED, copies_sentences, leak_free
from headwater.analysis.defects import COLUMN as DEFECTS
from headwater.analysis.defects import defects_sentences
from headwater.analysis.draws import over_draws
from headwater.analysis.kept import kept
from headwater.analysis.rates import NEEDED as RATES
from headwater.analysis.rates import Chosen, chosen_rates
from headwater.analysis.spent import Spent, hours_of_seeds, repeats_of, spent_by
from headwater.analysis.words import count, listed, setting_word

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NEEDED = (
    *("subset", "task_majority", "task_classes", "shots", "draw", "n_test", "unique_images"),
    *("status", "seconds", "pretrain_seconds", "leaked_test_images", "similar_test_images"),
    DEFECTS,
    *RATES,
)
"""Columns of rows that evidence is made of, beside the required ones."""
BEWARE = "Beware: "
_USUAL = ("top1", "mean_per_class")
_COPY_VALUES = 4
"""So many equal values make two seeds of an arm copies of each other, where the test set is large
enough to tell them apart [ours].
"""
_COPY_IMAGES = 100
"""A test set of so many images seldom gives two networks one score [ours]."""


@dataclass(frozen=True, order=True)
class Setting:
    """Where arms meet."""

    task: str
    protocol: str
    shots: int
    """Images per class; -1 for all."""

    @property
    def title(self) -> str:
        return setting_word(self.task, self.protocol, self.shots)


@dataclass(frozen=True)
class Line:
    """Arms that are compared under one protocol, over tasks that all of them have."""

    protocol: str
    shots: tuple[int, ...]
    """Ascending, -1 (all images) last; one number but where a decision asks for the mean of
    several.
    """
    settings: tuple[Setting, ...]
    arms: tuple[Configuration, ...]
    scores: Floats
    """float64 [settings, seeds, arms], shares in [0, 1]; NaN where there is none."""
    seeds: tuple[int, ...]
    steps: Floats
    """[settings]: the smallest difference that the test images can show."""
    chance: Floats
    """[settings]: share of the most frequent class; NaN where it is not known."""
    left_out: Mapping[str, str]
    """Arms (by name) and tasks that do not enter -> why."""

    @property
    def key(self) -> tuple[str, tuple[int, ...]]:
        return self.protocol, self.shots

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(setting.task for setting in self.settings))

    def means(self, weights: Mapping[str, float] | None = None) -> Floats:
        """float64 [seeds, arms]: the mean over settings, tasks weighted by `weights` (1 where a
        task is not named); NaN where an arm lacks a setting of that seed.
        """
        return np.asarray(np.tensordot(self.shares(weights), self.scores, axes=1), dtype=np.float64)

    def step(self, weights: Mapping[str, float] | None = None) -> float:
        """The smallest difference of `means` that the test images can show: roundings of tasks are
        independent of each other.
        """
        return float(np.sqrt(np.sum((self.shares(weights) * self.steps) ** 2)))

    def shares(self, weights: Mapping[str, float] | None = None) -> Floats:
        """[settings]: what each counts for in `means`; they sum to 1."""
        each = [(weights or {}).get(setting.task, 1.0) for setting in self.settings]
        shares = np.array(each, dtype=np.float64)
        return np.asarray(shares / shares.sum(), dtype=np.float64)

    @cached_property
    def by_setting(self) -> Floats:
        """float64 [settings, arms]: means over seeds; NaN where there is none."""
        known = np.isfinite(self.scores)
        counts = known.sum(axis=1)
        sums = np.where(known, self.scores, 0.0).sum(axis=1)
        means: Floats = np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
        return means

    @cached_property
    def at_chance(self) -> NDArray[np.bool_]:
        """[arms]: no better in any setting than always answering the most frequent class."""
        means = self.by_setting
        above = ~(means <= self.chance[:, None] + 1e-12)
        return np.asarray(~above.any(axis=0), dtype=np.bool_)


@dataclass(frozen=True)
class Evidence:
    """All that rows say of which arm is better, as arrays."""

    arms: tuple[Configuration, ...]
    seeds: tuple[int, ...]
    settings: tuple[Setting, ...]
    scores: Floats
    """float64 [settings, seeds, arms]; NaN where there is none."""
    steps: Floats
    chance: Floats
    tainted: frozenset[tuple[str, str]]
    """(task, protocol) in which a frozen encoder met labels that it was trained on."""
    diverged: Mapping[str, tuple[int, int]]
    """Arm's id -> (seeds in which a cell of it diverged, seeds), where there are any."""
    copies: tuple[tuple[str, int, int], ...]
    """(arm's id, seed, the later seed that repeats it)."""
    hours: Floats
    """[arms]: hours of one seed, pre-training and all cells; NaN where rows do not say."""
    leak_free: frozenset[str]
    """Ids of arms with scores without test images that their pre-training has seen."""
    never: frozenset[str] = frozenset()
    """Ids of arms of which every run diverged."""
    draws: Floats | None = None
    """float64 [settings, seeds, draws, arms], of which `scores` are the means; None where nobody
    kept them.
    """
    spent: Spent | None = None
    copied: frozenset[tuple[str, str]] = frozenset()
    """(task, protocol) of which every test image is a copy of the task's own train or val
    images.
    """
    rates: Chosen | None = None
    """What validation chose, where learning rates are an axis."""
    beware: tuple[str, ...] = ()
    """What a reader must know of such copies, a sentence each."""

    def lines(self) -> tuple[Line, ...]:
        """Every protocol at every number of shots, those nearest to use first: whole networks
        before frozen ones, many images before few.
        """
        keys = {(setting.protocol, setting.shots) for setting in self.settings}
        made = [self.line(protocol, (shots,)) for protocol, shots in sorted(keys, key=_nearness)]
        return tuple(line for line in made if line is not None)

    def line(self, protocol: str, shots: tuple[int, ...] | None = None) -> Line | None:
        """The arms that can be compared under a protocol, at some numbers of shots (all that there
        are, when left out): those with the most arms x tasks. None where nothing enters.
        """
        chosen = [
            number
            for number, setting in enumerate(self.settings)
            if setting.protocol == protocol and (shots is None or setting.shots in shots)
        ]
        left_out = {
            task: f"frozen encoders met labels there that they were trained on ({protocol})"
            for task, of in sorted(self.tainted)
            if of == protocol
        }
        never = [arm.name for arm in self.arms if arm.id in self.never]
        left_out |= dict.fromkeys(never, "every run of it diverged")
        left_out |= {task: COPIED for task, of in sorted(self.copied) if of == protocol}
        fair = [at for at in chosen if not self._unfair(self.settings[at])]
        if not fair:
            return None
        there = np.asarray(np.isfinite(self.scores[fair]).any(axis=1), dtype=np.bool_)
        tried = np.asarray(there.any(axis=0), dtype=np.bool_)
        settings, arms = _common_ground(there[:, tried])
        arms = np.flatnonzero(tried)[arms]
        kept = [fair[at] for at in settings]
        tasks = {self.settings[at].task for at in kept}
        for at in sorted(set(fair) - set(kept)):
            task = self.settings[at].task
            lacking = [
                self.arms[arm].name for arm in arms if np.isnan(self.scores[at, :, arm]).all()
            ]
            why = f"{listed(lacking)} {'was' if len(lacking) == 1 else 'were'} not measured there"
            left_out[task if task not in tasks else self.settings[at].title] = why
        for arm in sorted(set(np.flatnonzero(tried)) - set(arms)):
            lacks = self._lacking(int(arm), kept)
            left_out[self.arms[arm].name] = f"not measured on {listed(lacks)}"
        numbers = sorted({self.settings[at].shots for at in kept}, key=lambda n: (n == -1, n))
        return Line(
            protocol=protocol,
            shots=tuple(numbers),
            settings=tuple(self.settings[at] for at in kept),
            arms=tuple(self.arms[arm] for arm in arms),
            scores=self.scores[kept][:, :, arms],
            seeds=self.seeds,
            steps=self.steps[kept],
            chance=self.chance[kept],
            left_out=left_out,
        )

    def _unfair(self, setting: Setting) -> bool:
        return (setting.task, setting.protocol) in self.tainted | self.copied

    def _lacking(self, arm: int, settings: Sequence[int]) -> list[str]:
        """Tasks that an arm has in none of some settings, and further settings that it lacks."""
        has = {
            self.settings[at].task for at in settings if np.isfinite(self.scores[at, :, arm]).any()
        }
        lacks = [self.settings[at] for at in settings if np.isnan(self.scores[at, :, arm]).all()]
        return list(dict.fromkeys(s.title if s.task in has else s.task for s in lacks))

    def places_of(self, line: Line) -> list[int]:
        """Of a line's settings among all settings."""
        return [self.settings.index(setting) for setting in line.settings]

    def hours_of(self, arm: Configuration) -> float | None:
        """Of one seed, pre-training and all cells; None where rows do not say."""
        return _known(self.hours[self.place_of(arm)])

    def images_of(self, arm: Configuration) -> float | None:
        """Distinct images in its pre-training; None where rows do not say."""
        return None if self.spent is None else _known(self.spent.images[self.place_of(arm)])

    def knows_training_of(self, arm: Configuration) -> bool:
        """Whether rows say how long its pre-training took."""
        return self.spent is not None and bool(np.isfinite(self.spent.training[self.place_of(arm)]))

    def place_of(self, arm: Configuration) -> int:
        """Its place among `arms`."""
        return [each.id for each in self.arms].index(arm.id)


def _known(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None


def _nearness(key: tuple[str, int]) -> tuple[bool, str, bool, int]:
    """Sorts lines by how near they are to use."""
    from headwater.analysis.order import tuned_protocols

    protocol, shots = key
    preferred = {"finetune": " ", "probe": " "}.get(protocol, protocol)
    return protocol not in tuned_protocols(), preferred, shots != -1, -shots


def _common_ground(there: NDArray[np.bool_]) -> tuple[list[int], NDArray[np.int64]]:
    """(settings, arms) that make up the largest comparison without a gap: all settings and the arms
    that have them, or fewer settings and more arms. `there` is bool [settings, arms].
    """
    settings = list(range(len(there)))
    best: tuple[tuple[bool, int, int], list[int], NDArray[np.int64]] | None = None
    while settings:
        arms = np.flatnonzero(there[settings].all(axis=0))
        size = (len(arms) > 1, len(arms) * len(settings), len(settings))
        if best is None or size > best[0]:
            best = size, list(settings), arms
        lacking = (~there[settings]).sum(axis=1)
        settings.pop(int(lacking.argmax()))
    assert best is not None
    return best[1], best[2]


@kept
def evidence_of(rows: pd.DataFrame, *, metric: str | None = None) -> Evidence:
    """The evidence that rows hold. `metric` is one for all tasks; each task's own where it is
    left out. Raises InputError where a required column of the schema is missing.
    """
    table, rates = chosen_rates(prepare(rows, only=NEEDED))
    arms = tuple(configurations(table).values())
    used = _entering(table, metric)
    lost = used["status"].eq("diverged").to_numpy()
    usable = used["usable"].to_numpy()
    chance = _chance(used)
    values = np.where(lost, np.nan_to_num(chance), used["value"].to_numpy(dtype="float64"))
    task, protocol = used["task"].to_numpy(object), used["protocol"].to_numpy(object)
    copied = used["copied"].to_numpy()
    reused = usable & ~used["decides"].to_numpy() & ~copied
    tainted = frozenset(zip(task[reused].tolist(), protocol[reused].tolist(), strict=True))
    numbers = used["shots"].to_numpy(dtype="int64", na_value=-1)
    keys = list(zip(task.tolist(), protocol.tolist(), numbers.tolist(), strict=True))
    settings = sorted(set(keys))
    number = {each: place for place, each in enumerate(settings)}
    setting = np.array([number[key] for key in keys], dtype=np.int64)
    seeds, seed = np.unique(used["seed"].to_numpy(dtype="int64"), return_inverse=True)
    draws, draw = np.unique(used["draw"].to_numpy(dtype="int64", na_value=-1), return_inverse=True)
    places = {arm.id: place for place, arm in enumerate(arms)}
    arm = np.array([places[each] for each in used["configuration"]], dtype=np.int64)
    shape = (len(settings), len(seeds), len(draws), len(arms))
    table_of = _mean_table(shape, (setting, seed, draw, arm), values)
    n_test = used["n_test"].to_numpy(dtype="float64", na_value=np.nan)
    seconds = used["seconds"].to_numpy(dtype="float64", na_value=np.nan)
    spent = spent_by(
        table,
        arms,
        cells=_mean_table((len(settings), len(arms)), (setting, arm), seconds / 3600),
        n_test=_least(n_test, setting, len(settings)),
        repeats=repeats_of((setting, seed, draw, arm), shape, np.where(lost, np.nan, values)),
    )
    measured = _mean_table(shape, (setting, seed, draw, arm), np.where(lost, np.nan, values))
    copies = _copies(measured, _least(n_test, setting, len(settings)))
    never = np.isnan(measured).all(axis=(0, 1, 2)) & ~np.isnan(table_of).all(axis=(0, 1, 2))
    table_of[:, :, :, never] = np.nan
    for place, _, repeat in copies:
        table_of[:, repeat, :, place] = np.nan
    num_draws = np.maximum((~np.isnan(table_of)).any(axis=(1, 3)).sum(axis=1), 1)
    return Evidence(
        arms=arms,
        seeds=tuple(int(each) for each in seeds),
        settings=tuple(Setting(*key) for key in settings),
        scores=over_draws(table_of),
        steps=1 / _images(n_test, setting, len(settings)) / np.sqrt(num_draws),
        chance=_largest(chance, setting, len(settings)),
        tainted=tainted,
        diverged=_diverged(arms, arm, seed, lost),
        copies=tuple((arms[a].id, int(seeds[s]), int(seeds[r])) for a, s, r in copies),
        hours=hours_of_seeds(table, arms),
        leak_free=leak_free(used),
        copied=frozenset(
            zip(task[usable & copied].tolist(), protocol[usable & copied].tolist(), strict=True)
        ),
        beware=(*copies_sentences(table), *defects_sentences(used)),
        never=frozenset(arms[place].id for place in np.flatnonzero(never)),
        draws=table_of,
        spent=spent,
        rates=rates,
    )


def _chance(used: pd.DataFrame) -> Floats:
    """What a constant answer attains: the share of the most frequent class, or of one class in a
    mean over classes; NaN where it is not known.
    """
    majority = used["task_majority"].to_numpy(dtype="float64", na_value=np.nan)
    classes = used["task_classes"].to_numpy(dtype="float64", na_value=np.nan)
    per_class = (used["metric"] == "mean_per_class").to_numpy()
    return np.asarray(np.where(per_class, 1 / classes, majority), dtype=np.float64)


def _entering(table: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    """Rows of numbers that can enter, one for each cell: the task's metric, without leaked images
    where that is known; and diverged cells.
    """
    metrics = _metrics(table) if metric is None else dict.fromkeys(set(table["task"]), metric)
    wanted = table["metric"].to_numpy(object) == np.array(
        [metrics.get(task) for task in table["task"]], dtype=object
    )
    fits = wanted & table["subset"].isin(("all", "unleaked")).to_numpy()
    fits &= (table["usable"] | table["status"].eq("diverged")).to_numpy()
    used: pd.DataFrame = table[fits]
    if not used["subset"].eq("unleaked").any():
        return used.drop_duplicates("cell")
    best_last: pd.DataFrame = used.sort_values("subset", kind="stable")  # "all" < "unleaked"
    return best_last.drop_duplicates("cell", keep="last").sort_index()


def _metrics(table: pd.DataFrame) -> dict[str, str]:
    """Task -> the metric that it is compared by: top1 where it has that, else the mean over
    classes, else the first by name of those that are the better the higher.
    """
    chosen: dict[str, str] = {}
    pairs = table[["task", "metric"]].drop_duplicates()
    by_task: dict[str, set[str]] = {}
    for task, metric in zip(pairs["task"], pairs["metric"], strict=True):
        by_task.setdefault(str(task), set()).add(str(metric))
    for task, metrics in by_task.items():
        usual = [metric for metric in _USUAL if metric in metrics]
        others = sorted(metrics - LOWER_IS_BETTER)
        if usual or others:
            chosen[task] = (usual or others)[0]
    return chosen


def _mean_table(shape: tuple[int, ...], places: tuple[Any, ...], values: Floats) -> Floats:
    """A table of means: cells that agree in all of the places are averaged; NaN where none is."""
    sums, counts = np.zeros(shape), np.zeros(shape)
    known = ~np.isnan(values)
    at = tuple(place[known] for place in places)
    np.add.at(sums, at, values[known])
    np.add.at(counts, at, 1.0)
    means: Floats = np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)
    return means


def _least(values: Floats, setting: NDArray[np.int64], num_settings: int) -> Floats:
    """[settings]: the least known number of each, infinite where none is known."""
    least = np.full(num_settings, np.inf)
    known = ~np.isnan(values)
    np.minimum.at(least, setting[known], values[known])
    return least


def _images(n_test: Floats, setting: NDArray[np.int64], num_settings: int) -> Floats:
    """[settings]: test images; where nobody says how many, as many as make no seed look exact."""
    least = _least(n_test, setting, num_settings)
    return np.where(np.isfinite(least), least, float(_COPY_IMAGES))


def _largest(values: Floats, setting: NDArray[np.int64], num_settings: int) -> Floats:
    largest = np.full(num_settings, -np.inf)
    known = ~np.isnan(values)
    np.maximum.at(largest, setting[known], values[known])
    return np.where(np.isinf(largest), np.nan, largest)


def _copies(values: Floats, n_test: Floats) -> list[tuple[int, int, int]]:
    """(arm, seed, later seed) of seeds that repeat all numbers of an earlier one. Small test sets,
    where two networks may well have one score, prove nothing.
    """
    copies = []
    large = n_test >= _COPY_IMAGES
    num_seeds, num_arms = values.shape[1], values.shape[3]
    for later in range(1, num_seeds):  # of all arms at once: fewer values each are enough
        for earlier in range(later):
            a, b = values[large][:, earlier], values[large][:, later]
            if num_arms > 1 and np.array_equal(a, b, equal_nan=True) and np.isfinite(a).sum() > 2:
                copies += [(arm, earlier, later) for arm in range(num_arms)]
                break
    for arm in range(num_arms):
        flat = [values[large][:, seed, :, arm].ravel() for seed in range(num_seeds)]
        for later in range(1, num_seeds):
            for earlier in range(later):
                a, b = flat[earlier], flat[later]
                same = np.array_equal(a, b, equal_nan=True)
                known = (arm, earlier, later) in copies
                if same and not known and (~np.isnan(a)).sum() >= _COPY_VALUES:
                    copies.append((arm, earlier, later))
                    break
    return copies


def _diverged(
    arms: tuple[Configuration, ...],
    arm: NDArray[np.int64],
    seed: NDArray[np.int64],
    lost: NDArray[np.bool_],
) -> dict[str, tuple[int, int]]:
    rates = {}
    for place in sorted(set(arm[lost].tolist())):
        of_arm = arm == place
        rates[arms[place].id] = (len(set(seed[of_arm & lost])), len(set(seed[of_arm])))
    return rates


def copied_words(found: Evidence) -> list[str]:
    """A sentence for each arm with seeds that are copies."""
    names = {arm.id: arm.name for arm in found.arms}
    return [
        f"Seed {repeat} of {names[arm]} repeats every number of seed {seed}: it counts once."
        for arm, seed, repeat in found.copies
    ]


def diverged_words(found: Evidence) -> list[str]:
    names = {arm.id: arm.name for arm in found.arms}
    return [
        f"{names[arm]} diverged in {lost} of {count(every, 'seed')}: there it counts as always "
        "answering the most frequent class."
        for arm, (lost, every) in found.diverged.items()
    ]
