"""The forms of learning curves that others fit: Alabdulmohsin et al. 2022 (arXiv 2209.06640), and
the law with the delta method.

M1 to M4 are fitted as they say, by least squares of log error. Each returns errors at n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Form = Callable[[Floats, Floats], Callable[[Floats], Floats]]
_SMALL = 1e-9


def m1(n: Floats, error: Floats) -> Callable[[Floats], Floats]:
    """b n^-c."""
    line = np.polyfit(np.log(n), np.log(error), 1)
    return lambda asked: np.exp(np.polyval(line, np.log(asked)))


def m2(n: Floats, error: Floats) -> Callable[[Floats], Floats]:
    """E + b n^-c."""

    def form(words: Floats, at: Floats) -> Floats:
        return words[0] + np.exp(words[1]) * (at / n[-1]) ** -words[2]

    starts = [[0.0, np.log(error[-1]), 0.3], [0.8 * error[-1], np.log(0.1), 0.5]]
    return _fitted(form, starts, ([0, -20, 0], [1, 5, 5]), n, error)


def m3(n: Floats, error: Floats) -> Callable[[Floats], Floats]:
    """E + b (1 / n + g)^c."""

    def form(words: Floats, at: Floats) -> Floats:
        return words[0] + np.exp(words[1]) * (n[-1] / at + np.exp(words[3])) ** words[2]

    starts = [[0.0, np.log(error[-1]), 0.3, -3.0], [0.8 * error[-1], np.log(0.1), 0.5, -1.0]]
    return _fitted(form, starts, ([0, -20, 0, -20], [1, 5, 5, 5]), n, error)


def m4(n: Floats, error: Floats) -> Callable[[Floats], Floats]:
    """(error - E) / (1 - error)^g = b n^-c, with 1 for the error of guessing; E on a grid."""
    best: tuple[float, tuple[float, ...]] | None = None
    ones, at = np.ones_like(error), np.log(n / n[-1])
    for floor in np.linspace(0.0, 0.98 * error.min(), 25):
        left = np.log(np.maximum(error - floor, 1e-6))
        chance = np.log(np.maximum(1 - error, 1e-6))
        found = np.linalg.lstsq(np.c_[chance, ones, -at], left, rcond=None)[0]
        if found[0] < 0:
            two = np.linalg.lstsq(np.c_[ones, -at], left, rcond=None)[0]
            found = np.array([0.0, *two])
        words = (floor, *map(float, found))
        off = float(((np.log(_solved(words, at)) - np.log(error)) ** 2).sum())
        if best is None or off < best[0]:
            best = off, words
    assert best is not None
    words = best[1]
    return lambda asked: _solved(words, np.log(asked / n[-1]))


def _solved(words: Sequence[float], at: Floats) -> Floats:
    """M4's error at log n, by bisection."""
    floor, power, height, slope = words
    low, high = np.full(len(at), floor), np.full(len(at), 1 - _SMALL)
    for _ in range(60):
        middle = (low + high) / 2
        value = np.log(np.maximum(middle - floor, 1e-12))
        value = value - power * np.log(np.maximum(1 - middle, 1e-12))
        above = value > height - slope * at
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.maximum((low + high) / 2, 1e-6)


def _fitted(
    form: Callable[[Floats, Floats], Floats],
    starts: list[list[float]],
    bounds: tuple[list[float], list[float]],
    n: Floats,
    error: Floats,
) -> Callable[[Floats], Floats]:
    def left(words: Floats) -> Floats:
        return np.log(np.maximum(form(words, n), _SMALL)) - np.log(error)

    found = [least_squares(left, start, bounds=bounds, max_nfev=400) for start in starts]
    words = min(found, key=lambda each: each.cost).x
    return lambda asked: form(words, asked)


FORMS: dict[str, Form] = {"M1": m1, "M2": m2, "M3": m3, "M4": m4}


def delta_t(n: Floats, error: Floats, asked: Floats) -> tuple[Floats, Floats]:
    """(errors, halves of 95 % intervals of new scores) of E + B n^-a fitted by least squares, by
    the delta method and Student's t.
    """
    x = n / n[-1]
    found = []
    for start in (0.1, 0.3, 0.6, 1.2):
        line = np.linalg.lstsq(np.c_[np.ones_like(x), x**-start], error, rcond=None)[0]
        words = [max(line[0], 1e-6), max(line[1], 1e-6), start]
        found.append(
            least_squares(
                lambda w: w[0] + w[1] * x ** -w[2] - error,
                words,
                bounds=([0, 0, 0.01], [np.inf, np.inf, 4]),
            )
        )
    best = min(found, key=lambda each: each.cost)
    dof = max(len(n) - 3, 1)
    variance = 2 * best.cost / dof
    covariance = np.linalg.pinv(best.jac.T @ best.jac) * variance
    at = asked / n[-1]
    floor, fall, exponent = best.x
    slope = np.c_[np.ones_like(at), at**-exponent, -fall * np.log(at) * at**-exponent]
    spread = np.sqrt(np.einsum("ij,jk,ik->i", slope, covariance, slope) + variance)
    return floor + fall * at**-exponent, -stdtrit(dof, 0.025) * spread
