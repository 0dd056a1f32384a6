"""Claim: exchange rates of planted curves lie in their 95 % intervals in 93 to 97 %; "never" is
said wrongly in at most 5 %; of a crossing between 1 and 4 times the largest size nothing wrong is
said in 95 %.

    python benchmarks/exchange.py [--tables N] [--write]       (five minutes on one core)

Two arms at five sizes, a factor 2 apart, two to five seeds. Their errors are laws with planted
rates: the same at all sizes, growing, reversing (above 1, then below) and never (a floor above).
Noise is of seeds: a part that all sizes of a seed share (rho), a part that both arms share (rho_a);
as large at all sizes, or less at larger ones.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pages import Page, run_parts, share, table

from headwater.analysis.curves.hiding import fitter_of, hidden
from headwater.analysis.exchange import Exchange, Rate, Seeds, crossing
from headwater.analysis.exchange.crossing import FLIPS, KEEPS
from headwater.analysis.exchange.rates import NEVER, OUTSIDE, RATE, UNKNOWN

PAGE = Path(__file__).parent / "exchange.md"
SIZES = 1000.0 * 2.0 ** np.arange(5)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    floor: float
    fall: float
    exponent: float

    def at(self, n: Floats | float) -> Floats:
        return np.asarray(self.floor + self.fall * (np.asarray(n) / 1000.0) ** -self.exponent)

    def inverse(self, error: float) -> float:
        """The n at an error; infinite where it never comes down to it."""
        if error <= self.floor:
            return float("inf")
        return float(1000 * ((error - self.floor) / self.fall) ** (-1 / self.exponent))


Planted = Callable[[np.random.Generator], tuple[Law, Law]]


def constant(rng: np.random.Generator) -> tuple[Law, Law]:
    ratio = rng.choice([1.5, 2.0, 4.0])
    floor, fall, exponent = rng.uniform([0, 0.2, 0.25], [0.25, 0.5, 0.7])
    return Law(floor, fall * ratio**exponent, exponent), Law(floor, fall, exponent)


def growing(rng: np.random.Generator) -> tuple[Law, Law]:
    floor, fall, exponent = rng.uniform([0, 0.25, 0.35], [0.2, 0.5, 0.6])
    return Law(floor, 1.05 * fall, 0.7 * exponent), Law(floor, fall, exponent)


def reversing(rng: np.random.Generator) -> tuple[Law, Law]:
    floor = rng.uniform(0, 0.1)
    return Law(floor, 0.42, 0.55), Law(floor, 0.35, 0.35)


def never(rng: np.random.Generator) -> tuple[Law, Law]:
    floor = rng.uniform(0, 0.1)
    return Law(floor + rng.uniform(0.08, 0.2), 0.4, 0.5), Law(floor, 0.4, 0.5)


KINDS: dict[str, Planted] = {
    "the same at all sizes": constant,
    "growing": growing,
    "reversing": reversing,
    "never": never,
}


@dataclass(frozen=True)
class Noise:
    """Standard deviation of a score, and the shares of its variance that are shared."""

    seeds: int = 3
    sd: float = 0.008
    sizes: float = 0.3
    arms: float = 0.2
    power: float = 0.0
    """Of n, with which the variance goes; `sd` is in the middle of the sizes."""

    @property
    def title(self) -> str:
        shape = f", variance as n^{self.power:g}" if self.power else ""
        return (
            f"{self.seeds} seeds, sd {100 * self.sd:g}, rho {self.sizes:g}, rho_a {self.arms:g}"
            f"{shape}"
        )


NOISES = (
    Noise(),
    Noise(sd=0.004),
    Noise(seeds=5),
    Noise(seeds=2, arms=0.0),
    Noise(sizes=0.0, arms=0.0),
    Noise(sizes=0.8),
    Noise(power=-1.0),
    Noise(power=-2.0),
)


def drawn(laws: tuple[Law, Law], noise: Noise, rng: np.random.Generator) -> Exchange:
    both = rng.standard_normal((noise.seeds, 1))
    sides = []
    for name, law in zip("ab", laws, strict=True):
        one = rng.standard_normal((noise.seeds, 1))
        own = rng.standard_normal((noise.seeds, len(SIZES)))
        rest = max(noise.sizes - noise.arms, 0.0)
        left = 1 - max(noise.sizes, noise.arms)
        parts = np.sqrt(noise.arms) * both + np.sqrt(rest) * one + np.sqrt(left) * own
        sd = noise.sd * (SIZES / SIZES[2]) ** (noise.power / 2)
        sides.append(Seeds(name, SIZES, law.at(SIZES) + sd * parts, tuple(range(noise.seeds))))
    curves = [side.curve for side in sides]
    fitter = fitter_of(curves, 0.0)
    return Exchange.of(sides[0], sides[1], fitter, hidden(curves, fitter))


def holds(rate: Rate, truth: float) -> bool:
    """Whether what is said of a rate is true."""
    if rate.kind == UNKNOWN:
        return True
    if rate.kind == NEVER:
        return not np.isfinite(truth)
    low = -np.inf if rate.low is None else rate.low
    high = np.inf if rate.high is None else rate.high
    return bool(low <= truth <= high)


def rates(page: Page, tables: int) -> None:
    page.say("", "## Rates at a size", "")
    page.say(
        "At seven sizes of B. Within: the same error lies within the sizes of A; beyond: it does "
        "not, and the interval allows for curves that are no exact laws, as these are. Wide: the "
        "upper end of intervals with two ends over the lower, in the median.",
        "",
    )
    head = ["rate", "within, hold %", "wide", "beyond, hold %", "never, wrongly %", "said"]
    body, every, wrongly = [], [], []
    rng = np.random.default_rng(0)
    for kind, planted in KINDS.items():
        within, beyond, wide, false = [], [], [], []
        said = Counter[str]()
        for noise in NOISES:
            for _ in range(max(1, tables // len(NOISES))):
                a, b = planted(rng)
                for rate in drawn((a, b), noise, rng).at([*SIZES, 1500, 6000]):
                    partner = a.inverse(float(b.at(rate.n)))
                    inside = SIZES[0] <= partner <= SIZES[-1]
                    (within if inside else beyond).append(holds(rate, partner / rate.n))
                    false.append(rate.kind == NEVER and np.isfinite(partner))
                    said[rate.kind] += 1
                    if rate.kind == RATE and rate.low is not None and rate.high is not None:
                        wide.append(rate.high / rate.low)
        every += within
        wrongly += false
        order = (RATE, NEVER, OUTSIDE, UNKNOWN)
        counts = ", ".join(f"{said[word]} {word}" for word in order if said[word])
        outside = share(beyond) if beyond else ""
        row = [kind, share(within), f"{np.median(wide):.2f}", outside, share(false), counts]
        body.append(row)
    page.say(*table(head, body), "", f"Within, all together: {share(every)} %.")
    page.limit("rates within hold in 93 to 97 %", 0.93 <= np.mean(every) <= 0.97)
    page.limit("never is wrong in at most 5 %", np.mean(wrongly) <= 0.05)


def overall(page: Page, tables: int) -> None:
    page.say("", "## One rate for all sizes", "")
    body, every = [], []
    rng = np.random.default_rng(1)
    for noise in NOISES:
        held, wide = [], []
        for _ in range(tables):
            a, b = constant(rng)
            rate = drawn((a, b), noise, rng).overall()
            held.append(holds(rate, a.inverse(float(b.at(2000.0))) / 2000))
            if rate.low is not None and rate.high is not None:
                wide.append(rate.high / rate.low)
        every += held
        body.append([noise.title, share(held), f"{np.median(wide):.2f}"])
    page.say(*table(["noise, points", "hold %", "wide"], body))
    page.say("", f"All together: {share(every)} %.")
    page.limit("one rate holds in 93 to 97 %", 0.93 <= np.mean(every) <= 0.97)


def crossings(page: Page, tables: int) -> None:
    page.say("", "## A crossing between 1 and 4 times the largest size", "")
    rng = np.random.default_rng(2)
    body, every = [], []
    for crosses in (True, False):
        right, open_, wrong = 0, 0, 0
        for number in range(tables):
            floor, fall, exponent = rng.uniform([0, 0.3, 0.3], [0.1, 0.45, 0.4])
            steeper = exponent + rng.uniform(0.1, 0.3)
            meets = SIZES[-1] * (rng.uniform(1.05, 3.8) if crosses else rng.uniform(40, 100))
            first = Law(floor, fall, exponent)
            second = Law(floor, fall * (meets / 1000) ** (steeper - exponent), steeper)
            found = drawn((first, second), NOISES[number % len(NOISES)], rng)
            answer = crossing(found.a, found.b, found.hidden, 4 * SIZES[-1]).answer
            true, false = (FLIPS, KEEPS) if crosses else (KEEPS, FLIPS)
            right += answer == true
            wrong += answer == false
            open_ += answer not in (true, false)
        every.append(wrong / tables)
        title = "the order flips" if crosses else "it does not, up to 40 times and more"
        counts = [f"{100 * count / tables:.1f}" for count in (right, open_, wrong)]
        body.append([title, *counts])
    page.say(*table(["truth", "right %", "called open %", "wrong %"], body))
    page.limit("a wrong word on the order in at most 5 %", max(every) <= 0.05)


if __name__ == "__main__":
    sys.exit(
        run_parts(
            {"rates": rates, "overall": overall, "crossings": crossings},
            PAGE,
            title="Planted exchange rates",
            command="python benchmarks/exchange.py",
            tables=300,
        )
    )
