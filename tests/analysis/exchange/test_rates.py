"""Exchange rates of curves whose rate is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headwater.analysis.curves.hiding import fitter_of, hidden
from headwater.analysis.exchange import Exchange, Seeds, crossing
from headwater.analysis.exchange.crossing import FLIPS, KEEPS, OPEN
from headwater.analysis.exchange.rates import NEVER, OUTSIDE, RATE, UNKNOWN, VARIES

SIZES = 1000.0 * 2.0 ** np.arange(5)
Law = Callable[[np.ndarray], np.ndarray]


def power(floor: float, fall: float, exponent: float) -> Law:
    """Errors in percent."""
    return lambda n: 100 * (floor + fall * (n / 1000.0) ** -exponent)


def drawn(
    law: Law, rng: np.random.Generator, *, noise: float = 0.6, seeds: int = 3, alike: float = 0.3
) -> Seeds:
    """Noise in points; `alike` is how much of its variance the sizes of a seed share."""
    common = np.sqrt(alike) * rng.standard_normal((seeds, 1))
    own = np.sqrt(1 - alike) * rng.standard_normal((seeds, len(SIZES)))
    return Seeds("arm", SIZES, law(SIZES) + noise * (common + own), tuple(range(seeds)))


def exchange(a: Seeds, b: Seeds) -> Exchange:
    curves = [a.curve, b.curve]
    fitter = fitter_of(curves, 0.0)
    return Exchange.of(a, b, fitter, hidden(curves, fitter))


def test_a_rate_that_is_the_same_at_all_sizes_is_found() -> None:
    rng = np.random.default_rng(0)
    b, a = power(0.1, 0.4, 0.5), power(0.1, 0.4 * 2**0.5, 0.5)
    found = exchange(drawn(a, rng, noise=0.0), drawn(b, rng, noise=0.0))
    assert found.overall().rate == pytest.approx(2.0, rel=0.01)
    for rate in found.at([1000, 2500, 8000]):
        assert rate.kind == RATE and rate.rate == pytest.approx(2.0, rel=0.02)
    back = exchange(drawn(b, rng, noise=0.0), drawn(a, rng, noise=0.0)).overall()
    assert back.rate == pytest.approx(0.5, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [1.5, 2.0, 4.0])
def test_the_interval_of_one_rate_holds_it(ratio: float) -> None:
    rng, held, wide = np.random.default_rng(1), [], []
    for _ in range(100):
        floor, fall, exponent = rng.uniform([0, 0.2, 0.25], [0.25, 0.5, 0.7])
        b, a = power(floor, fall, exponent), power(floor, fall * ratio**exponent, exponent)
        rate = exchange(drawn(a, rng), drawn(b, rng)).overall()
        assert rate.low is not None and rate.high is not None
        held.append(rate.low <= ratio <= rate.high)
        wide.append(rate.high / rate.low)
    assert np.mean(held) >= 0.91, "95 % of 100, within two Monte-Carlo errors"
    assert np.median(wide) < 1.35


@pytest.mark.parametrize("planted", [-2.0, 0.0, 1.5])
def test_scores_may_vary_less_at_one_end_of_the_sizes_than_at_the_other(planted: float) -> None:
    """A variance that is one for all sizes is too small where scores vary most."""
    rng, shape, found = np.random.default_rng(2), (SIZES / SIZES[2]) ** (planted / 2), []
    for _ in range(20):
        errors = 30 + 0.6 * shape * rng.standard_normal((5, len(SIZES)))
        one = Seeds("arm", SIZES, errors, tuple(range(5)))
        side = exchange(one, drawn(power(0.1, 0.4, 0.5), rng, noise=0.0, seeds=5)).a
        assert np.sqrt(np.mean(side.spread**2)) == pytest.approx(
            np.sqrt(np.mean(errors.var(axis=0, ddof=1))), rel=0.7
        )
        found.append(2 * np.log(side.spread[-1] / side.spread[0]) / np.log(SIZES[-1] / SIZES[0]))
    assert np.mean(found) == pytest.approx(0.8 * planted, abs=0.3), "shrunk to 0"


def test_a_rate_that_grows_is_followed() -> None:
    rng = np.random.default_rng(2)
    b, a = power(0.0, 0.4, 0.6), power(0.0, 0.42, 0.35)
    rates = exchange(drawn(a, rng, noise=0.2), drawn(b, rng, noise=0.2)).at([1000, 2000])
    truth = [1000 * (b(np.array([n])) / 42) ** (-1 / 0.35) / n for n in (1000.0, 2000.0)]
    for rate, true in zip(rates, truth, strict=True):
        assert rate.low is not None and rate.high is not None
        assert rate.low <= float(true[0]) <= rate.high
    assert rates[1].low is not None and rates[0].high is not None
    assert rates[1].low > rates[0].high


def test_a_floor_above_an_error_is_never_worth_it() -> None:
    """Long curves: their floor can be seen."""
    rng, n = np.random.default_rng(3), 1000.0 * 2.0 ** np.arange(14)
    a = Seeds("a", n, power(0.3, 0.4, 0.8)(n) + 0.1 * rng.standard_normal((3, 14)), (0, 1, 2))
    b = Seeds("b", n, power(0.1, 0.4, 0.8)(n) + 0.1 * rng.standard_normal((3, 14)), (0, 1, 2))
    assert exchange(a, b).at([n[-1]])[0].kind == NEVER
    assert exchange(b, a).at([n[-1]])[0].kind == RATE


@pytest.mark.parametrize(
    "law",
    [
        power(0.02, 0.7, 0.05),
        lambda n: 100 * (0.1 + 0.85 / (1 + (n / 60_000) ** 2)),
        lambda n: 100 * (0.1 + 0.85 / (1 + (n / 300_000) ** 2)),
    ],
    ids=["a small exponent", "leaves chance at the end", "at chance"],
)
@pytest.mark.parametrize("noise", [0.2, pytest.param(0.8, marks=pytest.mark.slow)])
def test_never_is_not_said_of_a_curve_that_comes_down_later(law: Law, noise: float) -> None:
    rng, said = np.random.default_rng(6), []
    for _ in range(20):
        b = drawn(power(0.0, 0.5, 0.3), rng, noise=noise)
        said += [rate.kind for rate in exchange(drawn(law, rng, noise=noise), b).at(SIZES.tolist())]
    assert said.count(NEVER) <= 0.05 * len(said)


def test_where_rates_at_the_sizes_contradict_one_rate_none_is_said() -> None:
    rng = np.random.default_rng(7)
    b, a = power(0.0, 0.4, 0.7), power(0.0, 0.5, 0.25)
    found = exchange(drawn(a, rng, noise=0.2), drawn(b, rng, noise=0.2)).overall()
    assert (found.kind, found.rate, found.low, found.high) == (VARIES, None, None, None)


def test_scores_that_do_not_vary_and_seeds_that_do_not_meet_give_numbers() -> None:
    rng = np.random.default_rng(8)
    still = drawn(power(0.1, 0.4, 0.5), rng, noise=0.0)
    for rate in exchange(still, still).at(SIZES.tolist()):
        assert rate.rate == pytest.approx(1.0, rel=1e-3)
        ends = [end for end in (rate.low, rate.high) if end is not None]
        assert ends == pytest.approx([1.0] * len(ends), rel=0.2) and ends
    gaps = drawn(power(0.1, 0.4, 0.5), rng)
    gaps.errors[1:, 0], gaps.errors[0, 1:] = np.nan, np.nan
    other = Seeds("other", SIZES, drawn(power(0.1, 0.4, 0.5), rng).errors, (0, 8, 9))
    assert exchange(gaps, other).overall().kind in (RATE, UNKNOWN)


def test_what_lies_outside_is_said_with_its_bound() -> None:
    rng = np.random.default_rng(4)
    good, poor = power(0.02, 0.2, 0.5), power(0.02, 0.9, 0.5)
    far = exchange(drawn(poor, rng, noise=0.1), drawn(good, rng, noise=0.1)).at([8000])[0]
    assert far.kind in (OUTSIDE, NEVER, RATE)
    near = exchange(drawn(good, rng, noise=0.1), drawn(poor, rng, noise=0.1)).at([1000])[0]
    assert near.kind == OUTSIDE and near.high == pytest.approx(1.0) and near.low is None


@pytest.mark.slow
def test_flat_curves_tell_no_rate_but_as_often_as_an_interval_may_be_wrong() -> None:
    flat, told, wrong = power(0.4, 0.001, 0.5), [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = exchange(drawn(flat, rng), drawn(flat, rng))
        for rate in (found.overall(), found.at([2000])[0]):
            told.append(rate.kind != UNKNOWN)
            wrong.append(not (rate.low or 0) <= 1 <= (rate.high or np.inf))
    assert np.mean(told) <= 0.12 and np.mean(wrong) <= 0.06


def test_a_missing_seed_of_a_size_is_a_gap_and_no_fault() -> None:
    rng = np.random.default_rng(6)
    a, b = drawn(power(0.1, 0.6, 0.5), rng), drawn(power(0.1, 0.4, 0.5), rng)
    a.errors[2, 4] = np.nan
    rate = exchange(a, b).overall()
    assert rate.low is not None and rate.high is not None and 1.5 < rate.low < rate.high < 3.5


def test_an_order_that_flips_is_told_where_the_curves_tell_it() -> None:
    rng = np.random.default_rng(7)
    first, second = power(0.1, 0.4, 0.5), power(0.3, 0.4, 0.5)
    found = exchange(drawn(first, rng, noise=0.1), drawn(second, rng, noise=0.1))
    keeps = crossing(found.a, found.b, found.hidden, 32000)
    assert keeps.answer == KEEPS and keeps.now < 0 and keeps.gap < 0 and keeps.at is None
    near = exchange(
        drawn(power(0.1, 0.40, 0.5), rng, noise=0.3), drawn(power(0.1, 0.41, 0.5), rng, noise=0.3)
    )
    assert crossing(near.a, near.b, near.hidden, 64000).answer == OPEN


def test_a_wrong_word_on_a_crossing_is_rare() -> None:
    """The second arm is behind now, and ahead from between one and four times the last size on."""
    rng, wrong = np.random.default_rng(8), 0
    for _ in range(60):
        meets = SIZES[-1] * rng.uniform(1.05, 3.8)
        first = power(0.05, 0.4, 0.35)
        second = power(0.05, 0.4 * (meets / 1000) ** 0.2, 0.55)
        found = exchange(drawn(first, rng), drawn(second, rng))
        said = crossing(found.a, found.b, found.hidden, 4 * SIZES[-1])
        assert said.answer in (FLIPS, KEEPS, OPEN) and said.low < said.gap < said.high
        wrong += said.answer == KEEPS
    assert wrong <= 3
