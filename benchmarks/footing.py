"""Claim: source gaps, their trends, the shape of a granularity curve and gains on hard samples come
with intervals that cover what they say, and are told where they are there.

    python benchmarks/footing.py                 prints all tables; exit code 1 for a missed limit
    python benchmarks/footing.py --write         writes benchmarks/footing.md as well
    python benchmarks/footing.py --only hardness one part: gap, peak, hardness, together

Cost: about 20 minutes on one core. Each cell is 2,000 tables through the package's own functions;
what is drawn is in tests/analysis/simulated.py. The error beside a share is its Monte-Carlo error
(one SD); a limit is missed where a share lies more than two of them outside.

What an interval has to cover:

- A held-out gap, a change: the true one of the two sources that the table names, over new seeds.
- A gain on hard samples: what the same study with new seeds finds on average, on these test images,
  by the split as it is applied. A study of S seeds splits for each seed by the models of its S - 1
  others, so the truth is the mean, over many such splits, of the true gain on the images that each
  calls hard. The true gain of an image is known (its chance under either arm, over infinitely many
  seeds); the mean is over 100 studies that are drawn for this and not used otherwise, for each of
  20 test sets. "These images" is the mean over the splits of one study alone: a lesser question,
  which the interval must cover at least as often.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pages import Page, run_parts, share, table

from headwater.analysis import gap, hardness, hardness_gains
from headwater.analysis.certainty import certainty_of
from headwater.analysis.compare import per_seed
from headwater.analysis.granularity import _above, _shape
from headwater.analysis.intervals import Interval, t_interval
from headwater.analysis.samples import ArmAnswers, conform_answers
from headwater.analysis.winners import holm

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the tests simulate the same
from tests.analysis.simulated import (  # noqa: E402
    Images,
    Noise,
    answered,
    curve,
    ends_of_a_trend,
    gain_of,
    images,
    noisy_ends,
)

PAGE = ROOT / "benchmarks" / "footing.md"
Floats = NDArray[np.float64]
TABLES, SETS = 2_000, 20
SEEDS = (3, 5, 10)


def covers(interval: Interval, truth: float) -> bool:
    if interval.low is None or interval.high is None:
        return False
    return interval.low - 1e-12 <= truth <= interval.high + 1e-12


def within(page: Page, name: str, hits: Any, low: float = 0.93, high: float = 0.97) -> None:
    rate = float(np.mean(hits))
    error = (rate * (1 - rate) / len(hits)) ** 0.5
    page.limit(f"{name}: {100 * rate:.1f} %", low - 2 * error <= rate <= high + 2 * error)


# gaps
def gaps(page: Page, tables: int) -> None:
    page.say("", "## The source gap and its trend", "")
    page.say(
        "Four sources 0 to 3 points apart, own SD 1 at few images and 0.5 at many, where a third "
        "of the differences is left. Percent of intervals that cover. Limits: 93 to 97 for the "
        "held-out gap and the change. The gap of the best and the worst is corrected for all pairs "
        "they are chosen from, so it covers more; it has no limit.",
        "",
    )
    rng, body = np.random.default_rng(1), []
    for seeds in SEEDS:
        hits: dict[str, list[bool]] = {"held out": [], "change": [], "gap": []}
        for _ in range(tables):
            means, few, many = noisy_ends(seeds, rng)
            _gap_hits(hits, means, few, many)
        body.append([f"{seeds} seeds", *map(share, hits.values())])
        for name in ("held out", "change"):
            within(page, f"{name}, {seeds} seeds", hits[name])
    page.say(*table(["", "held-out gap", "change of the gap", "gap (corrected)"], body))
    _trend(page, tables)


def _gap_hits(
    hits: dict[str, list[bool]], means: Floats, few: pd.DataFrame, many: pd.DataFrame
) -> None:
    values = few.to_numpy()
    first = values[: (len(values) + 1) // 2].mean(axis=0)
    seeds = per_seed(few)
    held = gap._held_out(seeds)
    hits["held out"].append(covers(held, means[first.argmax()] - means[first.argmin()]))
    change = gap._change(few, many, 0.95)
    best, worst = (list(few.columns).index(end) for end in (change.best, change.worst))
    hits["change"].append(covers(change.interval, 2 / 3 * (means[best] - means[worst])))
    ends = gap._ends(seeds)
    assert ends is not None
    best, worst = (list(few.columns).index(end) for end in (ends.best, ends.worst))
    hits["gap"].append(covers(gap._gap(seeds, ends, 0.95), means[best] - means[worst]))


def _trend(page: Page, tables: int) -> None:
    rng, means = np.random.default_rng(2), np.array([0.0, 1.0, 2.0, 3.0])
    told: dict[str, list[bool]] = {"this": [], "own": [], "pooled": []}
    for _ in range(tables):
        few, many = ends_of_a_trend(means, 5, rng)
        told["this"].append(gap._change(few, many, 0.95).answer == "shrinks")
        change = few.to_numpy() - many.to_numpy()
        own = t_interval((change[:, 3] - change[:, 0]).tolist())
        told["own"].append((own.low or 0) > 0)
        pooled = certainty_of(change[None])
        # the plain pooled test, without a guard against sources that are noisier than others
        mean = float(pooled.means[0, 3] - pooled.means[0, 0])
        told["pooled"].append(_t(mean, float(2 * pooled.pooled[0, 0] / 5), 12) <= 0.05)
    page.say("", "A gap of 3 points that falls to 1; 4 sources, 5 seeds, own SD 1. Limit: 40.", "")
    head = ["", "told", "paired t that knows the pair", "pooled t that knows the pair"]
    page.say(*table(head, [["3 to 1", *map(share, told.values())]]))
    page.limit("a gap of 3 to 1 is told", np.mean(told["this"]) >= 0.40)


def _t(mean: float, variance: float, df: float) -> float:
    """Two-sided p of a mean above 0; 1 below."""
    from scipy.special import stdtr

    return 2 * float(stdtr(df, -mean / variance**0.5)) if mean > 0 else 1.0


# shapes
US = ([-3, 0, -3], [-3, -1.5, 0, -1.5, -3], [-3, 0, -1, -3])
NO_US = {
    "plateau": ([-5, 0, 0], [-5, 0, 0, 0, 0]),
    "monotone": ([-2, -1, 0], [-3, -2, -1, 0]),
    "equal views": ([0, 0, 0], [0, 0, 0, 0, 0]),
}


def peaks(page: Page, tables: int) -> None:
    page.say("", "## The peak", "")
    page.say(
        "Percent of curves that are told to be a U, own SD 1. Heights of the views in points, "
        "coarse to fine. Limits: a U of 3 points in 70 at 3 seeds, a curve that is none in at most "
        "5. `before`: each end by its own paired t-interval, Bonferroni over the other views; "
        "beside it the same without that correction.",
        "",
    )
    rng, body = np.random.default_rng(3), []
    for heights in US:
        for seeds in (3, 5):
            told = _us(heights, seeds, tables, rng)
            body.append([f"a U: {_heights(heights)}, {seeds} seeds", *map(share, told.values())])
            if seeds == 3:
                page.limit(f"a U of {_heights(heights)} is told", np.mean(told["now"]) >= 0.70)
    for name, curves in NO_US.items():
        for heights in curves:
            for seeds in SEEDS:
                told = _us(heights, seeds, tables, rng)
                word = f"{name}: {_heights(heights)}, {seeds} seeds"
                body.append([word, *map(share, told.values())])
                within(page, word, told["now"], 0.0, 0.05)
    page.say(*table(["", "told to be a U", "before", "own t, uncorrected"], body))


def _heights(heights: Any) -> str:
    return " ".join(f"{height:g}" for height in heights)


def _us(heights: Any, seeds: int, tables: int, rng: np.random.Generator) -> dict[str, list[bool]]:
    """Whether each curve is told to be a U, by each rule."""
    told: dict[str, list[bool]] = {name: [] for name in ABOVE}
    for _ in range(tables):
        views = curve(heights, seeds, rng)
        for name, above in ABOVE.items():
            told[name].append(_shape_told(views, above))
    return told


def _shape_told(views: pd.DataFrame, above: Above) -> bool:
    top, last = int(views.to_numpy().mean(axis=0).argmax()), views.shape[1] - 1
    if not 0 < top < last:
        return False
    ends = {"coarse": above(views, top, 0), "fine": above(views, top, last)}
    return _shape(top, last + 1, ends) == "U"


def _own(views: pd.DataFrame, top: int, end: int, comparisons: int) -> Interval:
    values = views.to_numpy()
    return t_interval((values[:, top] - values[:, end]).tolist(), comparisons=comparisons)


Above = Callable[[pd.DataFrame, int, int], Interval]
ABOVE: dict[str, Above] = {
    "now": lambda views, top, end: _above(views, top, end, 0.95),
    "before": lambda views, top, end: _own(views, top, end, views.shape[1] - 1),
    "own": lambda views, top, end: _own(views, top, end, 1),
}
"""By how much the peak is above an end: each rule's interval."""


# hardness
@dataclass(frozen=True)
class World:
    """What is simulated: a gain, and how images and arms differ."""

    gain: str = "none"
    own: float = 0.5
    ease: float = 1.2
    spread: float = 2.0
    noise: Noise | None = None
    hard_share: float | None = None

    def images(self, n_test: int, rng: np.random.Generator) -> Images:
        return images(
            rng,
            n_test,
            gain=self.gain,
            own=self.own,
            ease=self.ease,
            spread=self.spread,
            noise=self.noise,
        )


WORLDS = {
    "the arms are the same": World(own=0.0),
    "they differ by image, none is better": World(),
    "fine gains 5 points, hard or easy": World("equal"),
    "fine gains more on hard": World("hard"),
}
LOUD = Noise(seed_class=0.05, arm_class=0.35, arm_image=0.2, draw_image=0.1, model_image=0.3)
STRESSES = {
    "arms differ twice as much by image": World(own=1.0),
    "the same, fine gains more on hard": World("hard", own=1.0),
    "few images are sure": World(spread=1.0, ease=0.5),
    "most images are easy": World("hard", ease=2.5),
    "whole classes go astray": World(noise=LOUD),
    "the hardest quarter": World(hard_share=0.25),
    "the hardest quarter, fine gains more on hard": World("hard", hard_share=0.25),
}
PARTS_OF_A_GAIN = ("hard", "easy", "all", "extra")


def _by_part() -> dict[str, list[bool]]:
    return {part: [] for part in PARTS_OF_A_GAIN}


@dataclass
class Covered:
    """What became of the tables of one cell, by part of the gain."""

    now: dict[str, list[bool]] = field(default_factory=_by_part)
    before: dict[str, list[bool]] = field(default_factory=_by_part)
    """By the t-interval of the values over seeds."""
    these: dict[str, list[bool]] = field(default_factory=_by_part)
    """The gain on the very images that a study calls hard."""
    p: list[float] = field(default_factory=list)
    """Of hard - easy."""
    same_through_rows: bool = True


def arms_of(right: NDArray[np.bool_], labels: str, num_labels: int) -> ArmAnswers:
    """Of bool [seeds, draws, n_test]."""
    seeds, draws, n_test = right.shape
    models = [(seed, draw) for seed in range(seeds) for draw in range(draws)]
    flat = right.reshape(-1, n_test)
    return ArmAnswers(labels, "level", num_labels, num_labels == 4, True, models, flat, None)


def simulated(
    world: World, n_test: int, draws: int, seeds: int, tables: int, rng: np.random.Generator
) -> Covered:
    found = Covered()
    each = max(1, tables // SETS)
    for _ in range(SETS):
        test = world.images(n_test, rng)
        gains = gain_of(test)
        truths = [
            _truths(_hard(_pair(right), world.hard_share), gains)
            for right in answered(test, 100, seeds, draws, rng)
        ]
        truth = pd.DataFrame(truths).mean().to_dict()
        for place, right in enumerate(answered(test, each, seeds, draws, rng)):
            pair = _pair(right)
            split = next(hardness._splits(pair, world.hard_share))
            _add(found, pair, split, truth, _truths(split.hard, gains))
            if place == 0 and n_test <= 200:
                found.same_through_rows &= _same(right, world.hard_share)
    return found


def _pair(right: NDArray[np.bool_]) -> hardness._Pair:
    """Of bool [seeds, 2 arms, draws, n_test]."""
    return hardness._pair(
        {}, arms_of(right[:, 0], "level:2", 4), arms_of(right[:, 1], "level:0", 40)
    )


def _hard(pair: hardness._Pair, hard_share: float | None) -> NDArray[np.bool_]:
    return hardness._hardest(pair.hardness("coarse", "fine"), hard_share)


def _truths(hard: NDArray[np.bool_], gains: Floats) -> dict[str, float]:
    """The true gain on the images of a study's splits."""
    of_images = np.broadcast_to(gains, hard.shape)
    on_hard, on_easy = (hardness._over(of_images, mask) for mask in (hard, ~hard))
    return {
        "hard": float(np.nanmean(on_hard)),
        "easy": float(np.nanmean(on_easy)),
        "all": float(gains.mean()),
        "extra": float(np.nanmean(on_hard - on_easy)),
    }


def _add(
    found: Covered,
    pair: hardness._Pair,
    split: hardness._Split,
    truth: dict[str, float],
    these: dict[str, float],
) -> None:
    told = hardness._gains(pair, split, 0.95)
    hard, easy = (hardness._over(pair.gains, mask) for mask in (split.hard, ~split.hard))
    values = {"hard": hard, "easy": easy, "all": pair.gains.mean(axis=1), "extra": hard - easy}
    for part in PARTS_OF_A_GAIN:
        interval = getattr(told, part).interval
        plain = t_interval(values[part][~np.isnan(values[part])].tolist())
        found.now[part].append(covers(interval, truth[part]))
        found.before[part].append(covers(plain, truth[part]))
        found.these[part].append(covers(interval, these[part]))
    assert told.extra.p is not None
    found.p.append(told.extra.p)


def _same(right: NDArray[np.bool_], hard_share: float | None) -> bool:
    """Whether `hardness_gains` says of a table of answers what these functions say."""
    seed, arm, draw, sample = (each.ravel() for each in np.indices(right.shape))
    answers = pd.DataFrame(
        {
            "task": "task",
            "protocol": "finetune",
            "shots": 5,
            "draw": draw,
            "source": "photos",
            "size": None,
            "labels": np.where(arm == 0, "level:2", "level:0"),
            "num_labels": np.where(arm == 0, 4, 40),
            "seed": seed,
            "target": arm == 0,
            "decides": True,
            "sample": sample,
            "right": right.ravel(),
            "hard": None,
        }
    )
    rows = hardness_gains(conform_answers(answers, "made up"), hard_share=hard_share)
    row = rows[rows["split"] == "cross-fitted"].iloc[0]
    pair = _pair(right)
    told = hardness._gains(pair, next(hardness._splits(pair, hard_share)), 0.95)
    return all(
        np.isclose(float(row[f"{part}_{end}"]), getattr(getattr(told, part).interval, end))
        for part in PARTS_OF_A_GAIN
        for end in ("low", "high")
    )


def gains(page: Page, tables: int) -> None:
    page.say("", "## Gains on hard samples", "")
    page.say(
        "Percent of intervals that cover what the same study with new seeds finds on average. "
        "Limit: 93 to 97. In brackets: the t-interval over the seeds' values, as it was before. "
        "`these images`: how often hard - easy on the very images that the study calls hard is "
        "covered. `told`: how often hard - easy excludes 0. Where the arms differ by image, it is "
        "not 0 on a given test set, although neither arm is better on new images.",
        "",
    )
    cells = [(n, d, s) for n in (200, 1000) for d in (1, 3) for s in SEEDS]
    page.say(*table(_HEAD, _body(page, WORLDS, cells, tables, 4)))
    page.say(
        "", "Harder worlds, 400 images, one draw. No limit; what is outside of it is said.", ""
    )
    stress = Page()
    page.say(*table(_HEAD, _body(stress, STRESSES, [(400, 1, s) for s in SEEDS], tables, 5)))
    outside = [name for name in stress.missed if "rows" not in name]
    page.say("", "Outside of 93 to 97: " + ("; ".join(outside) if outside else "none") + ".")


_HEAD = ["", "hard", "easy", "all", "hard - easy", "these images", "told"]


def _body(
    page: Page, worlds: dict[str, World], cells: Any, tables: int, start: int
) -> list[list[str]]:
    body, rng = [], np.random.default_rng(start)
    for name, world in worlds.items():
        for n_test, draws, seeds in cells:
            found = simulated(world, n_test, draws, seeds, tables, rng)
            drawn = "1 draw" if draws == 1 else f"{draws} draws"
            word = f"{name}: {n_test} images, {drawn}, {seeds} seeds"
            row = [f"{share(found.now[p])} ({_percent(found.before[p])})" for p in PARTS_OF_A_GAIN]
            told = share(np.array(found.p) <= 0.05)
            body.append([word, *row, _percent(found.these["extra"]), told])
            print(body[-1], file=sys.stderr, flush=True)
            for part in PARTS_OF_A_GAIN:
                within(page, f"{word}, {part}", found.now[part])
            page.limit(f"{word}: rows say the same", found.same_through_rows)
    return body


def _percent(hits: Any) -> str:
    return f"{100 * float(np.mean(hits)):.1f}"


def together(page: Page, tables: int) -> None:
    page.say("", "## Gains on hard samples in several settings at once", "")
    page.say(
        "Six tasks of 200 images, one draw; the first have a larger gain on hard samples. How "
        "often some task is told although fine labels do nothing there (limit: 5), and what share "
        "of the others is told: by Holm's procedure, and by Bonferroni as before, both on these "
        "intervals. "
        f"Tasks are drawn from {tables:,} tables of each kind, so that errors are up to three "
        "times those beside the shares.",
        "",
    )
    rng, body = np.random.default_rng(6), []
    for seeds in SEEDS:
        ps = {
            real: np.array(
                simulated(World("hard" if real else "none", 0.0), 200, 1, seeds, tables, rng).p
            )
            for real in (False, True)
        }
        for true in (0, 3, 6):
            drawn = [_six(ps, true, rng) for _ in range(tables)]
            told = {"Holm": [_holm(each) for each in drawn], "B": [p <= 0.05 / 6 for p in drawn]}
            row = [f"{true} of 6 are real, {seeds} seeds"]
            for rule in told.values():
                wrong = [bool(each[true:].any()) for each in rule]
                row += [share(wrong) if true < 6 else "", _percent([e[:true] for e in rule])]
                row[-1] = row[-1] if true else ""
            body.append(row)
            if true < 6:
                wrong = [bool(each[true:].any()) for each in told["Holm"]]
                within(page, f"six settings, {true} real, {seeds} seeds", wrong, 0.0, 0.05)
    head = ["", "Holm: wrong somewhere", "real ones told", "Bonferroni: wrong", "real ones told"]
    page.say(*table(head, body))


def _six(ps: dict[bool, Floats], true: int, rng: np.random.Generator) -> Floats:
    return np.concatenate([rng.choice(ps[True], true), rng.choice(ps[False], 6 - true)])


def _holm(ps: Floats) -> NDArray[np.bool_]:
    return np.asarray(ps <= holm(ps.tolist(), 0.05))


PARTS: dict[str, Callable[[Page, int], None]] = {
    "gap": gaps,
    "peak": peaks,
    "hardness": gains,
    "together": together,
}


def main() -> int:
    return run_parts(
        PARTS,
        PAGE,
        title="Gaps, peaks and gains on hard samples: what the intervals cover",
        command="python benchmarks/footing.py",
        tables=TABLES,
    )


if __name__ == "__main__":
    sys.exit(main())
