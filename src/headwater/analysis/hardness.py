"""Do finer labels help on hard samples? The claim of Hong et al. 2023's theory, asked of any task,
whether its data mark hard samples or not.

Two arms of one source are compared, pre-trained on coarse and on fine labels. What is hard is told
by models that are not compared: for each seed s the *hardness* of a test sample is the share of
models that get it wrong, among the models of BOTH arms of all OTHER seeds (all draws). Hard is a
hardness of at least `HARD` (half of the other models are wrong), or the `hard_share` hardest
samples; easy is the rest. The gain of seed s is the mean over such samples of right(fine, s) -
right(coarse, s).

Why both arms: exchange the two models of one seed, and its gain changes its sign while no split and
no other gain changes. So if the labels make no difference, gains on hard and on easy samples are
centred at 0 and uncorrelated over seeds. A split by one arm's errors has no such symmetry. It looks
for samples on which that arm happens to be bad, where the other arm will look better: it is shown
beside the other (from other seeds, and by the very model that is compared, which is worse), marked
as biased.

What an interval is about: what the same study with new seeds would find on average, on these test
images. A new study splits them anew, by as many other seeds. So both are in the interval: how gains
vary over seeds, and how the split does, by which different seeds err together (crossfit.py). It
covers in 93 to 97 % of simulated studies (benchmarks/footing.md). It says nothing of other test
images or other label hierarchies. And a gain has less room on easy samples, which nearly all models
get right: "more on hard" is said of points, not of odds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headwater.analysis.crossfit import CrossFitted, crossfitted
from headwater.analysis.intervals import LEVEL, SEARCH_LIMIT, Interval, seeds_needed
from headwater.analysis.samples import ArmAnswers, arms_of
from headwater.analysis.winners import holm
from headwater.analysis.words import count, listed, setting_word
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Mask = NDArray[np.bool_]
HARD = 0.5
"""A sample is hard where at least this share of the other models are wrong."""
FEWEST_SEEDS = 3
"""Below it, hardness would rest on the two models of one seed, and an interval on fewer than three
gains.
"""
SPLITS = {
    "cross-fitted": "by both arms' errors at other seeds",
    "coarse arm": "by the coarse arm's errors at other seeds (biased)",
    "same model": "by the errors of the coarse model that is compared (biased)",
    "given": "as the data mark it",
}
BIASED = ("coarse arm", "same model")
BINS = ("0", "0\u201325", "25\u201350", "50\u201375", "75\u2013100", "100")
"""Hardness in percent: none of the other models wrong, at most a quarter, less than half, at most
three quarters, not all, all.
"""


@dataclass(frozen=True)
class _Pair:
    """Two arms in one setting, at the seeds and draws that both have."""

    setting: dict[str, Any]
    coarse: ArmAnswers
    fine: ArmAnswers
    gains: NDArray[np.float64]
    """[seeds, n_test]: right(fine) - right(coarse), mean over draws."""
    wrong: dict[str, NDArray[np.float64]]
    """'coarse' and 'fine': [seeds, n_test], the number of draws that are wrong."""
    draws: NDArray[np.float64]
    """[seeds]: draws of each seed."""

    @property
    def columns(self) -> dict[str, Any]:
        """What tells it from other pairs, in the tables below."""
        return self.setting | {
            "coarse": self.coarse.labels,
            "fine": self.fine.labels,
            "coarse_classes": self.coarse.num_labels,
            "fine_classes": self.fine.num_labels,
        }

    def hardness(self, *arms: str, without: int | None = None) -> NDArray[np.float64]:
        """[seeds, n_test]: the share of models of these arms at all other seeds that are wrong; at
        all but the seed in place `without`, too.
        """
        wrong = np.sum([self.wrong[arm] for arm in arms], axis=0)
        models = len(arms) * self.draws
        others_wrong, others = wrong.sum(axis=0) - wrong, models.sum() - models
        if without is not None:
            more = (np.arange(len(models)) != without).astype(np.float64)
            others_wrong = others_wrong - more[:, None] * wrong[without]
            others = others - more * models[without]
        return np.asarray(others_wrong / others[:, None])

    def lesser(self, *arms: str) -> Iterator[NDArray[np.float64]]:
        """The same, for each seed that is left out besides."""
        for place in range(len(self.draws)):
            yield self.hardness(*arms, without=place)


def hardness_gains(
    answers: pd.DataFrame,
    *,
    coarse: str | None = None,
    fine: str | None = None,
    hard_share: float | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """What fine labels gain over coarse ones on hard, on easy and on all test samples: one row per
    setting x split (`SPLITS`).

    `answers` is a table of `samples.ANSWERS`. Pairs of arms: of each source the finest level
    against the level that the task itself has (the coarsest one, where no arm was trained on that),
    or any label views by name. `hard_share` in (0, 1) takes the hardest share of the samples by
    rank, ties broken by a fixed hash of the sample's number, in place of the threshold `HARD`.

    Columns: task, protocol, shots, source, size, coarse, fine (label views), coarse_classes,
    fine_classes; split, biased; hard, easy, all and extra (hard minus easy), each with _low and
    _high: means over seeds of shares in [-1, 1], null where there is no such sample; num_seeds
    (seeds with hard and easy samples), samples, hard_samples (mean over seeds); coarse_on_hard,
    coarse_on_easy (what the coarse arm gets right there); seeds_needed (more of them until extra
    would exclude 0), p (of an extra of 0), num_comparisons (settings that this split is asked in at
    once), survives (extra is told for all of them together, Holm 1979), answer; auc (how well
    hardness tells the given mark, 0.5 is chance; null without one), decides (False: labels are
    re-used by a frozen encoder).

    Raises InputError where no pair of arms can be compared: a view that no arm has, or fewer than
    `FEWEST_SEEDS` seeds.
    """
    import pandas as pd

    _check_share(hard_share)
    pairs, refused = _pairs(answers, coarse, fine)
    if not pairs:
        raise InputError(refused[0])
    records = []
    for pair in pairs:
        for split in _splits(pair, hard_share):
            records.append(
                {
                    **pair.columns,
                    "split": split.name,
                    "biased": split.name in BIASED,
                    **_compared(pair, split, level),
                    "auc": _auc(pair) if split.name == "cross-fitted" else None,
                    "decides": pair.coarse.decides and pair.fine.decides,
                }
            )
    _together(records, level)
    out = pd.DataFrame(records)
    for column in ("shots", "seeds_needed"):
        out[column] = out[column].astype("Int64")
    for gain in ("hard", "easy", "all", "extra"):
        for column in (gain, f"{gain}_low", f"{gain}_high"):
            out[column] = out[column].astype("Float64")
    for column in ("coarse_on_hard", "coarse_on_easy", "p", "auc"):
        out[column] = out[column].astype("Float64")
    return out


def hardness_bins(
    answers: pd.DataFrame,
    *,
    coarse: str | None = None,
    fine: str | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """The gain of fine over coarse labels against (cross-fitted) hardness: one row per setting x
    bin of `BINS` that has samples.

    Columns: task, protocol, shots, source, size, coarse, fine, coarse_classes, fine_classes; bin
    (its word), order; gain, low, high; num_seeds (seeds with samples in it), samples (mean over
    those seeds). Bins change much where a seed is left out, so these intervals cover less surely:
    85 to 98 % in simulation, less in a bin of a few samples [ours]. Raises InputError as
    `hardness_gains` does.
    """
    import pandas as pd

    pairs, refused = _pairs(answers, coarse, fine)
    if not pairs:
        raise InputError(refused[0])
    records = [record for pair in pairs for record in _bin_records(pair, level)]
    out = pd.DataFrame(records)
    out["shots"] = out["shots"].astype("Int64")
    for column in ("gain", "low", "high"):
        out[column] = out[column].astype("Float64")
    return out


def _bin_records(pair: _Pair, level: float) -> Iterator[dict[str, Any]]:
    bins = _binned(pair.hardness("coarse", "fine"))
    lesser = [_binned(hardness) for hardness in pair.lesser("coarse", "fine")]
    for order, word in enumerate(BINS):
        there = bins == order
        without = np.array([_over(pair.gains, each == order) for each in lesser])
        interval = crossfitted(_over(pair.gains, there), without, level=level).interval
        if interval.num_seeds:
            yield {
                **pair.columns,
                "bin": word,
                "order": order,
                "gain": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "num_seeds": interval.num_seeds,
                "samples": float(there.sum(axis=1)[there.any(axis=1)].mean()),
            }


def refused_pairs(
    answers: pd.DataFrame, *, coarse: str | None = None, fine: str | None = None
) -> list[str]:
    """Why some settings are not compared, a sentence each; empty where all are."""
    return _pairs(answers, coarse, fine)[1]


# pairs of arms
def _pairs(
    answers: pd.DataFrame, coarse: str | None, fine: str | None
) -> tuple[list[_Pair], list[str]]:
    """The pairs that can be compared, and why the others cannot."""
    settings = list(arms_of(answers))
    known = sorted({arm.labels for _, arms in settings for arm in arms})
    for view in (coarse, fine):
        if view is not None and view not in known:
            raise InputError(
                f"no arm with kept answers was trained on {view!r}; there are "
                f"{listed(known, most=12)}"
            )
    if coarse is not None and coarse == fine:
        raise InputError(f"{coarse!r} is named as coarse and as fine; name two label views")
    pairs, refused = [], []
    for setting, arms in settings:
        try:
            pairs.append(_pair_of(setting, arms, coarse, fine))
        except _Refused as reason:
            where = setting_word(setting["task"], setting["protocol"], setting["shots"])
            refused.append(f"{setting['source']}, {where}: {reason}")
    return pairs, refused or ["there are no answers of supervised arms to compare"] * (not pairs)


class _Refused(Exception):
    """Why the arms of a setting are not compared."""


def _pair_of(
    setting: dict[str, Any], arms: list[ArmAnswers], coarse: str | None, fine: str | None
) -> _Pair:
    """Raises _Refused."""
    chosen = _chosen(arms, coarse, fine)
    if chosen is None:
        wanted = (
            f"{coarse or 'a level'} and {fine or 'a level'}" if coarse or fine else "two levels"
        )
        there = listed([arm.labels for arm in arms])
        raise _Refused(f"{wanted} are not both there; its arms have {there}")
    levels = all(arm.label_kind == "level" for arm in chosen)
    if levels and chosen[0].num_labels >= chosen[1].num_labels:
        counts = " and ".join(f"{arm.labels} has {arm.num_labels}" for arm in chosen)
        raise _Refused(f"coarse labels have fewer classes than fine ones, but {counts}")
    pair = _pair(setting, *chosen)
    if len(pair.draws) < FEWEST_SEEDS:
        seeds = count(len(pair.draws), "seed")
        raise _Refused(
            f"{seeds} with both {pair.coarse.labels} and {pair.fine.labels}; hardness is told by "
            f"other seeds than the one compared, which takes {FEWEST_SEEDS} or more"
        )
    return pair


def _chosen(
    arms: list[ArmAnswers], coarse: str | None, fine: str | None
) -> tuple[ArmAnswers, ArmAnswers] | None:
    """(coarse, fine) among the arms of a setting, which come from few classes to many; None where
    there is no such pair.
    """
    levels = [arm for arm in arms if arm.label_kind == "level"]
    named = {arm.labels: arm for arm in arms}
    fewest = named[coarse].num_labels if coarse in named else 0
    finer = (
        named.get(fine)
        if fine is not None
        else next((arm for arm in reversed(levels) if arm.num_labels > fewest), None)
    )
    if finer is None:
        return None
    below = [arm for arm in levels if arm.num_labels < finer.num_labels]
    coarser = (
        named.get(coarse)
        if coarse is not None
        else next((arm for arm in below if arm.target), below[0] if below else None)
    )
    return None if coarser is None else (coarser, finer)


def _pair(setting: dict[str, Any], coarse: ArmAnswers, fine: ArmAnswers) -> _Pair:
    models = sorted(set(coarse.models) & set(fine.models))
    seeds = np.array([seed for seed, _ in models], dtype=np.int64)
    of_seed = (seeds[None] == np.unique(seeds)[:, None]).astype(np.float64)
    draws = of_seed.sum(axis=1)
    coarse_right, fine_right = _right(coarse, models), _right(fine, models)
    return _Pair(
        setting=setting,
        coarse=coarse,
        fine=fine,
        gains=of_seed @ (fine_right - coarse_right) / draws[:, None],
        wrong={"coarse": of_seed @ (1 - coarse_right), "fine": of_seed @ (1 - fine_right)},
        draws=draws,
    )


def _right(arm: ArmAnswers, models: list[tuple[int, int]]) -> NDArray[np.float64]:
    """[models, n_test]: 1 where a model is right."""
    places = [arm.models.index(model) for model in models]
    return arm.right[places].astype(np.float64).reshape(len(models), -1)


# splits
def _check_share(hard_share: float | None) -> None:
    if hard_share is not None and not 0 < hard_share < 1:
        raise InputError(f"the share of hard samples is between 0 and 1, not {hard_share:g}")


@dataclass(frozen=True)
class _Split:
    name: str
    hard: Mask
    """[seeds, n_test]"""
    lesser: list[Mask] | None = None
    """The same without each seed's say; None where no seed has a say in another one's split."""


def _splits(pair: _Pair, hard_share: float | None) -> Iterator[_Split]:
    """Every split that there is."""
    for name, arms in (("cross-fitted", ("coarse", "fine")), ("coarse arm", ("coarse",))):
        lesser = [_hardest(hardness, hard_share) for hardness in pair.lesser(*arms)]
        yield _Split(name, _hardest(pair.hardness(*arms), hard_share), lesser)
    own = pair.wrong["coarse"] / pair.draws[:, None]
    yield _Split("same model", _hardest(own, hard_share))
    if pair.coarse.hard is not None:
        yield _Split("given", np.broadcast_to(pair.coarse.hard, pair.gains.shape))


def _hardest(hardness: NDArray[np.float64], hard_share: float | None) -> Mask:
    """bool [seeds, n_test] of the samples that are hard at each seed."""
    if hard_share is None:
        return np.asarray(hardness >= HARD)
    n = hardness.shape[1]
    take = min(max(1, round(hard_share * n)), n - 1)
    order = np.lexsort((np.broadcast_to(_hash(n), hardness.shape), -hardness), axis=1)
    hard = np.zeros(hardness.shape, dtype=bool)
    np.put_along_axis(hard, order[:, :take], True, axis=1)
    return hard


def _hash(n: int) -> NDArray[np.uint64]:
    """A fixed order of the samples 0 ... n - 1 that has nothing to do with their place (the
    finaliser of SplitMix64, Steele et al. 2014).
    """
    z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _binned(hardness: NDArray[np.float64]) -> NDArray[np.int64]:
    """The index in `BINS` of each hardness."""
    return np.select(
        [hardness == 0, hardness <= 0.25, hardness < 0.5, hardness <= 0.75, hardness < 1],
        [0, 1, 2, 3, 4],
        default=5,
    )


def _auc(pair: _Pair) -> float | None:
    """How well hardness (the models of both arms at all seeds) tells the given mark: the chance
    that a marked sample is the harder of a marked and an unmarked one, ties counted half. None
    without a mark, or where it marks all or none.
    """
    from scipy.stats import rankdata

    mark = pair.coarse.hard
    if mark is None or mark.all() or not mark.any():
        return None
    ranks = rankdata((pair.wrong["coarse"] + pair.wrong["fine"]).sum(axis=0))
    marked = int(mark.sum())
    return float((ranks[mark].sum() - marked * (marked + 1) / 2) / (marked * (len(mark) - marked)))


# gains
def _over(values: NDArray[np.float64], where: Mask) -> NDArray[np.float64]:
    """[seeds]: the mean of [seeds, n_test] over the samples of each seed; NaN where it has none."""
    there = where.sum(axis=1)
    return np.asarray(
        np.divide(
            (values * where).sum(axis=1), there, out=np.full(len(there), np.nan), where=there > 0
        )
    )


@dataclass(frozen=True)
class _Gains:
    """Of one split."""

    hard: CrossFitted
    easy: CrossFitted
    all: CrossFitted
    extra: CrossFitted
    """hard minus easy"""


def _gains(pair: _Pair, split: _Split, level: float) -> _Gains:
    on_hard, on_easy = _over(pair.gains, split.hard), _over(pair.gains, ~split.hard)
    lesser_hard = lesser_easy = lesser_extra = None
    if split.lesser is not None:
        lesser_hard = np.array([_over(pair.gains, hard) for hard in split.lesser])
        lesser_easy = np.array([_over(pair.gains, ~hard) for hard in split.lesser])
        lesser_extra = lesser_hard - lesser_easy
    return _Gains(
        hard=crossfitted(on_hard, lesser_hard, level=level),
        easy=crossfitted(on_easy, lesser_easy, level=level),
        all=crossfitted(pair.gains.mean(axis=1), level=level),
        extra=crossfitted(on_hard - on_easy, lesser_extra, level=level),
    )


def _compared(pair: _Pair, split: _Split, level: float) -> dict[str, Any]:
    """The numbers of one split."""
    found = _gains(pair, split, level)
    intervals = {
        "hard": found.hard.interval,
        "easy": found.easy.interval,
        "all": found.all.interval,
        "extra": found.extra.interval,
    }
    needed = seeds_needed(intervals["extra"], level=level)
    numbers: dict[str, Any] = {}
    for name, gain in intervals.items():
        numbers |= {name: gain.mean, f"{name}_low": gain.low, f"{name}_high": gain.high}
    coarse_right = 1 - pair.wrong["coarse"] / pair.draws[:, None]
    return numbers | {
        "num_seeds": intervals["extra"].num_seeds,
        "samples": split.hard.shape[1],
        "hard_samples": float(split.hard.sum(axis=1).mean()),
        "coarse_on_hard": _mean(_over(coarse_right, split.hard)),
        "coarse_on_easy": _mean(_over(coarse_right, ~split.hard)),
        "seeds_needed": needed,
        "p": found.extra.p,
        "answer": _answer(intervals["hard"], intervals["easy"], intervals["extra"], needed),
    }


def _together(records: list[dict[str, Any]], level: float) -> None:
    """Adds what holds for all settings of a split together."""
    for split in SPLITS:
        alike = [record for record in records if record["split"] == split]
        bar = holm([record["p"] for record in alike if record["p"] is not None], 1 - level)
        for record in alike:
            record["num_comparisons"] = len(alike)
            record["survives"] = record["p"] is not None and record["p"] <= bar


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _answer(hard: Interval, easy: Interval, extra: Interval, needed: int | None) -> str:
    """What the intervals say of fine labels on hard samples, in a few words."""
    if extra.mean is None:
        return "cannot tell (no seed has hard and easy samples)"
    if not extra.excludes_zero:
        if needed is None:
            return f"cannot tell (not with {SEARCH_LIMIT} more seeds either)"
        return f"cannot tell ({count(needed, 'more seed')} might)"
    side, gain, other = ("hard", hard, "easy") if extra.mean > 0 else ("easy", easy, "hard")
    if gain.low is not None and gain.low > 0:
        return f"fine helps more on {side}"
    if gain.high is not None and gain.high < 0:
        return f"fine loses on both, more on {other}"
    return f"fine does better on {side} than on {other}, no gain on {side} told"
