"""The law of a curve: exact on exact points, from where a curve has left chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from headwater.analysis.curves import curve_of
from headwater.analysis.curves.law import EXPONENTS, LEAST_POINTS, Noise, fit, knee
from headwater.analysis.curves.noise import common_noise, together

SIZES = 1000.0 * 2.0 ** np.arange(9)


def power(floor: float, fall: float, exponent: float, n: np.ndarray) -> np.ndarray:
    return floor + fall * (n / 1000.0) ** -exponent


@pytest.mark.parametrize(
    ("floor", "fall", "exponent"), [(0.1, 0.5, 0.5), (0.0, 0.8, 0.25), (0.3, 0.3, 1.1)]
)
def test_points_on_a_law_are_foretold_by_it(floor: float, fall: float, exponent: float) -> None:
    law = fit(curve_of("c", SIZES, power(floor, fall, exponent, SIZES)), least=0.0)
    far = np.array([4.0, 100.0]) * SIZES[-1]
    mean, sd = law.at(far)
    assert mean == pytest.approx(power(floor, fall, exponent, far), abs=2e-3)
    assert law.exponent == pytest.approx(exponent, rel=0.03)
    assert (sd < 0.01).all()
    assert law.at(np.array([np.inf]))[0][0] == pytest.approx(law.floor)


def test_the_best_exponent_is_the_one_that_an_optimiser_finds() -> None:
    rng = np.random.default_rng(1)
    error = power(0.2, 0.5, 0.6, SIZES) + 0.005 * rng.standard_normal(len(SIZES))
    curve = curve_of("c", SIZES, error)
    law = fit(curve, least=0.0, noise=Noise(1e-10, 5.0))  # so sure that the best has all weight
    n, shown = curve.n[law.first :], curve.error[law.first :]

    def left(words: np.ndarray) -> np.ndarray:
        return words[0] + words[1] * (n / n[-1]) ** -words[2] - shown

    found = min(
        (
            least_squares(left, [0.1, 0.1, a], bounds=([0, 0, 0.03], [1, 9, 3]))
            for a in (0.2, 0.5, 1)
        ),
        key=lambda result: result.cost,
    )
    best = int(law.weights.argmax())
    step = EXPONENTS[1] / EXPONENTS[0]
    assert found.x[2] / step <= EXPONENTS[best] <= found.x[2] * step
    assert law.floors[best] == pytest.approx(found.x[0], abs=0.01)
    mine = (
        (law.floors[best] + law.falls[best] * (n / n[-1]) ** -EXPONENTS[best] - shown) ** 2
    ).sum()
    assert 2 * found.cost <= mine <= 2 * found.cost * 1.05 + 1e-9


def test_an_error_is_not_foretold_below_the_least_there_can_be() -> None:
    falling = curve_of("c", SIZES, np.maximum(0.9 - 0.1 * np.arange(9), 0.001))
    assert fit(falling, least=0.0).at(np.array([1e12]))[0][0] >= 0
    assert fit(falling, least=None).at(np.array([1e12]))[0][0] < 0


def test_the_fit_begins_where_the_curve_has_left_chance() -> None:
    n = np.geomspace(1e3, 1e6, 40)
    sigmoid = 0.1 + 0.89 / (1 + (n / 2e4) ** 1.2)
    curve = curve_of("c", n, sigmoid)
    assert 5e3 < curve.n[knee(curve)] < 4e4, "the steepest fall of this curve is at 2e4"
    law = fit(curve, least=0.0)
    assert law.past == pytest.approx(np.log2(n[-1] / curve.n[knee(curve)]))
    assert fit(curve.upto(6), least=0.0).past < 1, "six points cannot show a knee"
    assert law.at(np.array([4e6]))[0][0] == pytest.approx(0.1, abs=0.02)


def test_a_law_that_only_falls_faster_has_no_knee_yet() -> None:
    n = np.geomspace(1e3, 1e5, 20)
    assert fit(curve_of("c", n, 0.99 - 1e-3 * (n / 1e3) ** 1.2), least=0.0).past < 0.7


@pytest.mark.parametrize("points", range(1, LEAST_POINTS + 2))
def test_few_points_are_fitted_without_a_fault(points: int) -> None:
    law = fit(curve_of("c", SIZES[:points], power(0.1, 0.5, 0.5, SIZES[:points])), least=0.0)
    mean, sd = law.at(np.array([1e6]))
    assert np.isfinite(mean).all() and np.isfinite(sd).all()


def test_a_flat_curve_does_not_fall() -> None:
    law = fit(curve_of("c", SIZES, np.full(9, 0.4)), least=0.0)
    assert law.at(np.array([1e9]))[0][0] == pytest.approx(0.4)


def test_points_of_one_size_are_seeds() -> None:
    curve = curve_of("c", [2, 1, 2, 2], [0.1, 0.5, 0.2, 0.3])
    assert curve.n.tolist() == [1, 2] and curve.repeats.tolist() == [1, 3]
    assert curve.error == pytest.approx([0.5, 0.2])
    assert np.isnan(curve.se[0]) and curve.se[1] == pytest.approx(0.1 / np.sqrt(3))


def test_noise_that_curves_have_in_common_is_found() -> None:
    rng = np.random.default_rng(3)
    alike = [Noise(0.01 * rng.chisquare(4) / 4, 4.0) for _ in range(400)]
    common = common_noise(alike)
    assert common is not None
    assert common.variance == pytest.approx(0.01, rel=0.1) and common.dof > 15
    unlike = [Noise(np.exp(rng.normal(-4, 1.5)) * rng.chisquare(4) / 4, 4.0) for _ in range(400)]
    apart = common_noise(unlike)
    assert apart is not None and apart.dof < 3
    drawn = together(Noise(1.0, 4.0), Noise(0.01, 4.0))
    assert drawn.variance == pytest.approx(0.505) and drawn.dof == 8
    assert common_noise(alike[:2]) is None
