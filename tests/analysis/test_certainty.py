"""The rule of certainty: numbers worked out by hand or by scipy, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from headwater.analysis.certainty import certainty_of


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_two_arms_are_a_paired_t_test() -> None:
    scores = normal(50, 4, 2)
    told = certainty_of(scores)
    expected = stats.ttest_rel(scores[:, :, 0], scores[:, :, 1], axis=1)
    others = np.arange(2) != told.best[:, None]
    np.testing.assert_allclose(told.p[others], expected.pvalue)
    chances, _ = told.p_best()
    one_sided = 1 - expected.pvalue / 2
    # two halves of the variance, each with the test's degrees of freedom: close to the test's own
    np.testing.assert_allclose(chances.max(axis=1), one_sided, atol=0.05)


def test_an_arms_variance_is_what_grubbs_finds() -> None:
    """Grubbs 1948 for three instruments: v_1 = s_12 + s_13 - s_23 over two, s_ij the variance of a
    difference."""
    from headwater.analysis.certainty import _Complete, _variances

    scores = normal(1, 40, 3) * np.array([1.0, 2.0, 3.0])
    found = _variances(_Complete(scores), np.full((1, 3), 1 / 3))[0]

    def spread(i: int, j: int) -> float:
        return float((scores[0, :, i] - scores[0, :, j]).var(ddof=1))

    s01, s02, s12 = spread(0, 1), spread(0, 2), spread(1, 2)
    expected = [(s01 + s02 - s12) / 2, (s01 + s12 - s02) / 2, (s02 + s12 - s01) / 2]
    np.testing.assert_allclose(found, expected)


def test_means_of_incomplete_tables_are_those_of_a_two_way_fit() -> None:
    """Against least squares with a column for each arm and seed."""
    scores = normal(1, 5, 4) + 10 * normal(1, 5, 1, seed=1)
    scores[0, [0, 1, 3], [2, 0, 3]] = np.nan
    there = ~np.isnan(scores[0])
    design = np.concatenate(
        [np.tile(np.eye(4), (5, 1)), np.repeat(np.eye(5), 4, axis=0)[:, 1:]], axis=1
    )[there.ravel()]
    effects, *_ = np.linalg.lstsq(design, scores[0][there], rcond=None)
    found = certainty_of(scores).means[0]
    np.testing.assert_allclose(found - found[0], effects[:4] - effects[0], atol=1e-10)


def test_a_table_without_gaps_is_told_the_same_by_both_ways() -> None:
    from headwater.analysis import certainty

    scores = normal(20, 4, 6) + np.arange(6) * 0.7
    told = [certainty._of_many(design(scores), 0.0, 0.95)
            for design in (certainty._Complete, certainty._Incomplete)]  # fmt: skip
    for name in ("means", "p", "se", "regret_bound", "variances"):
        values = [getattr(each, name) for each in told]
        values = [v - v[:, :1] if name == "means" else v for v in values]
        np.testing.assert_allclose(*values, atol=1e-9)


def test_chances_and_regrets_are_those_of_many_draws() -> None:
    scores = normal(1, 6, 5, seed=3) + np.array([0.0, 0.2, 0.4, 0.9, 1.0])
    told = certainty_of(scores)
    rng = np.random.default_rng(0)
    error = np.sqrt(told.variances[0] / told.num_seeds[0])
    shared = np.sqrt(told.pooled[0] / told.num_seeds[0])
    each = error * rng.standard_t(told.variance_df[0], size=(200_000, 5))
    alike = shared * rng.standard_t(told.pooled_df[0], size=(200_000, 5))
    draws = told.means[0] + np.concatenate([each, alike])
    chances, regrets = told.p_best()
    leads = np.bincount(draws.argmax(axis=1), minlength=5) / len(draws)
    np.testing.assert_allclose(chances[0], leads, atol=0.004)
    sides = [
        (told.means[0] + side).max(axis=1).mean() - told.means[0] - side.mean(axis=0)
        for side in (each, alike)
    ]
    np.testing.assert_allclose(regrets[0], np.maximum(*sides), atol=0.01)
    assert chances.sum() == pytest.approx(1)


def tops_tie(num_arms: int, num_seeds: int, noise: float, tables: int = 1500) -> np.ndarray:
    """Two arms tie 15 above the rest; theirs is the noise `noise`, the others' is 1."""
    spread = np.where(np.arange(num_arms) < 2, noise, 1.0)
    height = np.where(np.arange(num_arms) < 2, 0.0, -15.0)
    return normal(tables, num_seeds, num_arms, seed=num_arms + num_seeds) * spread + height


@pytest.mark.parametrize("num_seeds", [3, 10])
@pytest.mark.parametrize("num_arms", [2, 5, 25])
@pytest.mark.parametrize("noise", [1.0, 4.0])
def test_of_two_tied_arms_none_is_called_the_best_in_more_than_six_percent(
    num_arms: int, num_seeds: int, noise: float
) -> None:
    """6 % and three standard errors; benchmarks/decide.py asks many more tables."""
    sure = certainty_of(tops_tie(num_arms, num_seeds, noise)).sure()
    assert sure.mean() < 0.06 + 3 * np.sqrt(0.06 * 0.94 / len(sure))


def test_a_lead_of_four_is_told_among_twenty_five_arms_with_three_seeds() -> None:
    """The plain paired t-test of each pair, Bonferroni or not, tells it in less than 5 %."""
    scores = normal(1000, 3, 25) + np.where(np.arange(25) == 7, 4.0, 0.0)
    told = certainty_of(scores)
    assert (told.sure() & (told.best == 7)).mean() > 0.65
    assert (told.sure() & (told.best != 7)).mean() < 0.01


def test_the_best_arm_stays_on_the_shortlist_of_many() -> None:
    scores = normal(1000, 3, 25, seed=9)
    held = certainty_of(scores).shortlist[:, 0].mean()  # all are equal, so arm 0 is a best one
    assert held > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_arms_that_lack_seeds_are_not_called_the_best_for_it() -> None:
    scores = tops_tie(6, 6, 2.0)
    gaps = np.random.default_rng(1).random(scores.shape) < 0.35
    gaps[:, :3] = False  # 3 to 6 seeds each
    sure = certainty_of(np.where(gaps, np.nan, scores)).sure()
    assert sure.mean() < 0.06 + 3 * np.sqrt(0.06 * 0.94 / len(sure))


def test_an_arm_of_one_seed_could_always_be_the_best() -> None:
    scores = np.array([[[0.9, 0.5, 0.1], [0.91, 0.51, np.nan], [0.9, 0.49, np.nan]]])
    told = certainty_of(scores)
    assert told.shortlist[0].tolist() == [True, False, True] and not told.sure()[0]
    assert np.isinf(told.regret_bound[0])


def test_scores_that_cannot_differ_by_less_than_a_step_are_not_surer_than_it() -> None:
    """Two seeds with the same difference of one image in twenty."""
    scores = np.array([[[0.55, 0.50], [0.60, 0.55]]])
    assert certainty_of(scores).sure()[0]
    assert not certainty_of(scores, step=0.05).sure()[0]


def test_order_and_unit_of_the_scores_do_not_matter() -> None:
    scores = normal(30, 3, 6) + np.arange(6)
    told, other = certainty_of(scores), certainty_of(100 * scores[:, :, ::-1] + 7)
    np.testing.assert_allclose(told.p, other.p[:, ::-1])
    np.testing.assert_allclose(100 * told.regret_bound, other.regret_bound)
    np.testing.assert_allclose(told.p_best()[0], other.p_best()[0][:, ::-1], atol=1e-6)


@pytest.mark.parametrize(("seeds", "arms"), [(1, 3), (3, 1)])
def test_one_seed_or_one_arm_is_refused(seeds: int, arms: int) -> None:
    with pytest.raises(ValueError, match="needs 2 seeds and 2 arms"):
        certainty_of(normal(1, seeds, arms))


def test_an_expected_regret_of_two_arms_and_two_seeds_is_no_matter_of_the_grid() -> None:
    """A t with one degree of freedom has no mean: it is taken as one with three."""
    told = certainty_of(np.array([[[0.50, 0.53], [0.52, 0.53]]]))
    regret = told.p_best()[1][0, 1]
    rng = np.random.default_rng(0)
    error = np.sqrt(told.variances[0] / 2)
    draws = told.means[0] + error * rng.standard_t(3, size=(400_000, 2))
    assert regret == pytest.approx((draws.max(axis=1) - draws[:, 1]).mean(), rel=0.1)


@pytest.mark.parametrize("arms", [3, 4, 5, 40])
def test_scores_that_are_all_equal_are_a_tie_of_all(arms: int) -> None:
    """A task so easy, or so small, that every arm and seed has one score."""
    found = certainty_of(np.full((1, 3, arms), 0.5))
    assert found.shortlist.all() and (found.p == 1).all()
    assert found.se.max() < 1e-100 and found.regret_bound.max() < 1e-100
