"""Intervals of means whose samples the other seeds chose: the formula term by term, Student's
interval where nothing is chosen, and coverage where the choice is what moves.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from headwater.analysis import hardness
from headwater.analysis.crossfit import Floats, crossfitted
from headwater.analysis.intervals import t_interval
from headwater.analysis.samples import ArmAnswers

from .simulated import Images, answered, gain_of, images


def test_without_a_choice_it_is_students_interval_and_test() -> None:
    values = np.array([0.1, 0.3, np.nan, 0.2, 0.25])
    expected = stats.ttest_1samp(values[~np.isnan(values)], 0)
    ends = expected.confidence_interval(0.95)
    for lesser in (None, np.broadcast_to(values, (5, 5))):
        told = crossfitted(values, lesser)
        assert (told.interval.low, told.interval.high) == pytest.approx((ends.low, ends.high))
        assert told.p == pytest.approx(expected.pvalue) and told.interval.num_seeds == 4


def test_the_choice_widens_the_interval_by_the_formula_term_by_term() -> None:
    rng = np.random.default_rng(0)
    own = rng.normal(0.3, 0.1, 4)
    lesser = own + rng.normal(0, 0.02, (4, 1)) + rng.normal(0, 0.003, (4, 4)) + 0.1 * np.eye(4)
    effects, noise = [], []
    for t in range(4):
        changes = [own[s] - lesser[t, s] for s in range(4) if s != t]
        effects.append(np.mean(changes))
        noise.append(np.var(changes, ddof=1) / 3)
    choice = (np.var(effects, ddof=1) - np.mean(noise)) * 9 / 4 * np.sqrt(np.pi / 6)
    spread = np.var(own, ddof=1) / 4
    assert choice > 0
    df = (spread + choice) ** 2 / (spread**2 / 3 + choice**2 / 6)
    half = stats.t.ppf(0.975, df) * np.sqrt(spread + choice)
    told = crossfitted(own, lesser)
    assert told.interval.high == pytest.approx(own.mean() + half)
    assert told.interval.sd == pytest.approx(2 * np.sqrt(spread + choice))
    assert told.p == pytest.approx(2 * stats.t.sf(own.mean() / np.sqrt(spread + choice), df))


def test_few_seeds_and_seeds_without_samples_have_an_answer() -> None:
    nothing, one = crossfitted(np.full(3, np.nan)), crossfitted(np.array([0.2, np.nan, np.nan]))
    assert (nothing.interval.mean, nothing.p, one.interval.mean, one.p) == (None, None, 0.2, None)
    assert (one.interval.low, crossfitted(np.zeros(3)).p, crossfitted(np.ones(3)).p) == (None, 1, 0)
    own = np.array([0.2, 0.1, np.nan])
    told = crossfitted(own, np.full((3, 3), np.nan))
    assert told.interval.low == pytest.approx(t_interval([0.2, 0.1]).low)


def gains(right: np.ndarray) -> tuple[hardness._Pair, hardness._Split]:
    """Of bool [seeds, 2 arms, 1 draw, n_test], split by the hardness of other seeds."""
    models = [(seed, 0) for seed in range(len(right))]
    coarse, fine = (
        ArmAnswers(labels, "level", classes, classes == 4, True, models, right[:, arm, 0], None)
        for arm, (labels, classes) in enumerate((("level:2", 4), ("level:0", 40)))
    )
    pair = hardness._pair({}, coarse, fine)
    return pair, next(hardness._splits(pair, None))


def test_models_of_a_seed_that_change_places_turn_its_gain_and_touch_nothing_else() -> None:
    right = np.random.default_rng(3).random((5, 2, 1, 60)) < 0.6
    turned = right.copy()
    turned[2] = right[2, ::-1]
    (pair, split), (other, again) = gains(right), gains(turned)
    sign = np.array([1, 1, -1, 1, 1])[:, None]
    assert (other.gains == sign * pair.gains).all() and (again.hard == split.hard).all()
    assert split.lesser is not None and again.lesser is not None
    assert all((a == b).all() for a, b in zip(split.lesser, again.lesser, strict=True))


def test_a_seed_that_is_left_out_has_no_say_in_the_splits_of_others() -> None:
    right = np.random.default_rng(4).random((4, 2, 1, 50)) < 0.6
    _, split = gains(right)
    assert split.lesser is not None
    _, of_three = gains(right[[0, 1, 3]])
    assert (split.lesser[2][[0, 1, 3]] == of_three.hard).all()
    assert (split.lesser[2][2] == split.hard[2]).all()


def truth(test: Images, rng: np.random.Generator) -> float:
    """hard - easy that studies of 10 seeds find on average on these images."""
    gain, means = gain_of(test), []
    for right in answered(test, 40, 10, 1, rng):
        pair, _ = gains(right)
        hard = pair.hardness("coarse", "fine") >= hardness.HARD
        of_images = np.broadcast_to(gain, hard.shape)
        means.append(hardness._over(of_images, hard) - hardness._over(of_images, ~hard))
    return float(np.mean(means))


def test_where_other_seeds_choose_differently_the_old_interval_covers_80_percent_and_this_95() -> (
    None
):
    rng, now, before = np.random.default_rng(5), [], []
    for _ in range(8):
        test = images(rng, 150, own=1.0)
        expected = truth(test, rng)
        for right in answered(test, 50, 10, 1, rng):
            pair, split = gains(right)
            extra: Floats = hardness._over(pair.gains, split.hard) - hardness._over(
                pair.gains, ~split.hard
            )
            plain, told = t_interval(extra.tolist()), hardness._gains(pair, split, 0.95).extra
            for hits, ends in ((now, told.interval), (before, plain)):
                assert ends.low is not None and ends.high is not None
                hits.append(ends.low <= expected <= ends.high)
    assert 0.95 - 3 * (0.05 * 0.95 / 400) ** 0.5 < np.mean(now) < 0.98
    assert np.mean(before) < 0.88
