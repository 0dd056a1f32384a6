"""What images of one source are worth in images of another: the answer, from rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.analysis.curves.hiding import Fitter, fitter_of, hidden
from headwater.analysis.curves.prediction import FARTHEST
from headwater.analysis.curves.tables import MOST_N
from headwater.analysis.decision import Aim
from headwater.analysis.evidence import BEWARE, Evidence, evidence_of
from headwater.analysis.exchange.crossing import FLIPS, KEEPS, OPEN, Crossing, crossing
from headwater.analysis.exchange.drawn import DrawnCurve, drawn
from headwater.analysis.exchange.families import (
    By,
    Family,
    counted_by,
    differences,
    families,
    named,
    repeated,
)
from headwater.analysis.exchange.rates import NEVER, OUTSIDE, RATE, UNKNOWN, VARIES, Exchange, Rate
from headwater.analysis.lines import check_aim, headline_of
from headwater.analysis.prices import Prices, image_price
from headwater.analysis.words import listed, money_word, shots_words
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis.evidence import Line

_ANSWERS = {FLIPS: "flips", KEEPS: "stays", OPEN: "is open"}
_ONE = {
    "images": "one image of",
    "seen": "one image seen of",
    "shots": "one labelled image per class after",
}
_OF = {"images": "of", "seen": "of", "shots": "after"}
_EACH = {
    "images": "images of each",
    "seen": "images seen of each",
    "shots": "labelled images per class",
}
_FEW_SHOTS = 2
"""A curve over shots has so many at least."""


@dataclass(frozen=True)
class ExchangeRate:
    """How many images of `a` are worth one of `b`."""

    a: str
    b: str
    by: By
    where: str
    """The setting: protocol, shots and tasks."""
    overall: Rate
    """One rate for all sizes of b."""
    rates: tuple[Rate, ...]
    """At each size of b that was asked for; errors are percent of the test images."""
    a_sizes: tuple[float, ...]
    b_sizes: tuple[float, ...]
    num_seeds: int
    crossing: Crossing | None = None
    """What becomes of the order of a and b at a target size, where one was asked for."""
    prices: tuple[float, float] | None = None
    """Of one more image of a and of b, with its label or caption, where prices were given."""
    beware: tuple[str, ...] = ()
    """What a reader must know of the rows: copies, defects of imported numbers."""
    drawn: tuple[DrawnCurve, ...] = ()
    """Both curves, a first: points, law, and how it was fitted."""

    @property
    def changes(self) -> str:
        """'grows' or 'shrinks' with the number of images, where the intervals of the first and the
        last rate do not meet; '' where that cannot be told.
        """
        bounded = [rate for rate in self.rates if rate.kind == RATE]
        if len(bounded) < 2:
            return ""
        first, last = bounded[0], bounded[-1]
        if last.low is not None and first.high is not None and last.low > first.high:
            return "grows"
        if last.high is not None and first.low is not None and last.high < first.low:
            return "shrinks"
        return ""

    @property
    def sentences(self) -> list[str]:
        """The answer in words."""
        one, a = f"{_ONE[self.by]} {self.b}", f"{_OF[self.by]} {self.a}"
        every = "numbers of shots" if self.by == "shots" else "sizes"
        said = [f"Over all {every} {one} is worth {_worth(self.overall, a)}."]
        if self.changes:
            what = "shots" if self.by == "shots" else "images"
            said.append(f"The rate {self.changes} with the number of {what}.")
        for rate in self.rates:
            said.append(f"At {rate.n:,.0f} {one} is worth {_worth(rate, a)}.")
        if self.prices is not None:
            said.append(_money_words(self.overall, self.prices, self.a, self.b))
        if self.crossing is not None:
            said += _order_words(self.crossing, self.a, self.b, _EACH[self.by])
        return [*said, *(f"{BEWARE}{sentence}" for sentence in self.beware)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "changes": self.changes, "sentences": self.sentences}


def exchange_rate(
    rows: pd.DataFrame | Evidence,
    a: str,
    b: str,
    aim: Aim | None = None,
    *,
    by: str = "images",
    at: Sequence[float] | None = None,
    tasks: Sequence[str] | None = None,
    target: float | None = None,
    level: float = 0.95,
    reach: float = FARTHEST,
) -> ExchangeRate:
    """How many images of `a` are worth one of `b`, from rows of arms at several sizes.

    `a` and `b` are curves: an arm without its size ("supervised level:0 · grocery"), or a source
    that has one curve. `by` is images (distinct ones) or seen; or shots, labelled images per class
    of the tasks, of which one after pre-training as `b` is worth so many after `a`: these are whole
    arms then, with their size where they have one, and no pre-training is one, too. `at` are sizes
    of b; those that were run, when left out. `aim` is as in `decide`: protocol, shots and weights
    of tasks; with prices the answer is in money as well, what images of b are worth in images of a,
    and cost. `tasks` are the only ones that enter. `target` is a number of images of each at which
    it is asked whether their order flips. A rate that needs more than `reach` times the images that
    a was run with is refused.

    Intervals hold with probability `level`, each by itself; of one seed they stand on how far its
    sizes lie from a law, and five sizes tell little of that.

    Raises InputError where the rows have no such curve, where a has fewer than two sizes, and for a
    level that is no probability.
    """
    if not 0 < level < 1:
        raise InputError(f"exchange: the level is a probability, such as 0.95, not {level:g}")
    unit = counted_by(by)
    found = _of_tasks(rows if isinstance(rows, Evidence) else evidence_of(rows), tasks)
    every = _families(found, unit)
    asked = named(every, a), named(every, b)
    aim = aim or Aim()
    check_aim(aim, found)
    line = _line_over_shots(found, aim, asked) if unit == "shots" else _line(found, aim, asked)
    sides = asked[0].seeds(line, aim.weights), asked[1].seeds(line, aim.weights)
    if len(sides[0].n) < 2 and unit != "shots":
        raise InputError(
            f"{a}: was run at one size alone ({sides[0].n[0]:,.0f}), so nobody knows what more of "
            "it is worth; add `sizes` to the study, such as `sizes: [500, 1000, 2000, 4000]`"
        )
    others = [one.seeds(line, aim.weights) for one in every if _measured(one, line)]
    curves = [one.curve for one in others]
    fitter = fitter_of(curves, 0.0)
    exchange = replace(Exchange.of(*sides, fitter, hidden(curves, fitter)), reach=reach)
    sizes = [float(n) for n in (sides[1].n if at is None else at)]
    asked_for = [*sizes, reach, *([] if target is None else [target])]
    if wrong := [n for n in asked_for if not 0 < n <= MOST_N]:
        raise InputError(f"exchange: a size is a number above 0 to {MOST_N:g}, not {wrong[0]:g}")
    return ExchangeRate(
        a=asked[0].name,
        b=asked[1].name,
        by=unit,
        where=_where(line),
        overall=exchange.overall(level),
        rates=tuple(exchange.at(sizes, level)),
        a_sizes=tuple(map(float, sides[0].n)),
        b_sizes=tuple(map(float, sides[1].n)),
        num_seeds=min(len(side.seeds) for side in sides),
        crossing=None if target is None else _crossing(exchange, target),
        prices=None if aim.prices is None or unit == "shots" else _prices(asked, aim.prices),
        beware=(*found.beware, *differences(*asked, unit), *repeated(asked)),
        drawn=_drawn(exchange, fitter, target),
    )


def curves_of_rows(rows: pd.DataFrame | Evidence, *, by: str = "images") -> list[Family]:
    """The curves that `exchange_rate` can be asked about; errors as there."""
    found = rows if isinstance(rows, Evidence) else evidence_of(rows)
    return _families(found, counted_by(by))


def _of_tasks(found: Evidence, tasks: Sequence[str] | None) -> Evidence:
    """The evidence of some tasks alone. Raises InputError for one that the rows do not have."""
    if tasks is None:
        return found
    known = dict.fromkeys(setting.task for setting in found.settings)
    for task in tasks:
        if task not in known:
            raise InputError(
                f"exchange: no task {task!r} in these rows; they have {listed(list(known))}"
            )
    places = [at for at, setting in enumerate(found.settings) if setting.task in tasks]
    return replace(
        found,
        settings=tuple(found.settings[place] for place in places),
        scores=found.scores[places],
        steps=found.steps[places],
        chance=found.chance[places],
        draws=None,
        spent=None,
    )


def _families(found: Evidence, by: By) -> list[Family]:
    every = families(found.arms, by)
    if not every:
        raise InputError("exchange: these rows have no arm that was trained and says its images")
    return every


def _line(found: Evidence, aim: Aim, asked: tuple[Family, Family]) -> Line:
    """The settings in which all arms of two curves were measured, and all arms that were measured
    in them.
    """
    ids = {arm.id for one in asked for arm in one.arms}
    places = [place for place, arm in enumerate(found.arms) if arm.id in ids]
    two = replace(
        found,
        arms=tuple(found.arms[place] for place in places),
        scores=found.scores[:, :, places],
        hours=found.hours[places],
        copies=(),
        draws=None,
        spent=None,
    )
    line = headline_of(two, aim)
    if line is None:
        raise InputError(
            f"exchange: {asked[0].name} and {asked[1].name} were measured nowhere both"
        )
    settings = found.places_of(line)
    there = np.isfinite(found.scores[settings]).any(axis=1).all(axis=0)
    kept = np.flatnonzero(there)
    return replace(
        line,
        arms=tuple(found.arms[place] for place in kept),
        scores=found.scores[settings][:, :, kept],
    )


def _line_over_shots(found: Evidence, aim: Aim, asked: tuple[Family, Family]) -> Line:
    """All numbers of shots of one protocol, but for the full set, in which both arms were measured:
    the aim's protocol, or the one with the most of them.
    """
    ids = {one.arms[0].id for one in asked}
    places = [place for place, arm in enumerate(found.arms) if arm.id in ids]
    there = np.asarray(np.isfinite(found.scores[:, :, places]).any(axis=1), dtype=np.bool_)
    kept = np.flatnonzero(there.all(axis=1))
    by_protocol: dict[str, set[int]] = {}
    for place in kept:
        setting = found.settings[place]
        wanted = aim.shots is None or setting.shots in aim.shots
        if setting.shots > 0 and wanted and aim.protocol in (None, setting.protocol):
            by_protocol.setdefault(setting.protocol, set()).add(setting.shots)
    if not by_protocol or max(map(len, by_protocol.values())) < _FEW_SHOTS:
        raise InputError(
            f"exchange: {asked[0].name} and {asked[1].name} were not both measured at "
            f"{_FEW_SHOTS} numbers of shots; add them to the study's protocols, such as "
            "`shots: [1, 2, 5, 10, 20]`"
        )
    protocol = max(by_protocol, key=lambda name: len(by_protocol[name]))
    line = found.line(protocol, tuple(sorted(by_protocol[protocol])))
    if line is None or not ids <= {arm.id for arm in line.arms}:
        raise InputError(
            f"exchange: {asked[0].name} and {asked[1].name} were measured nowhere both"
        )
    return line


def _measured(one: Family, line: Line) -> bool:
    """Whether a line has two sizes of a curve, or more."""
    ids = {arm.id for arm in line.arms}
    if not one.n:
        return one.arms[0].id in ids
    return sum(arm.id in ids for arm in one.arms) > 1


def _drawn(exchange: Exchange, fitter: Fitter, target: float | None) -> tuple[DrawnCurve, ...]:
    """Both curves, up to twice what was run or the target."""
    last = max(exchange.a.seeds.n[-1], exchange.b.seeds.n[-1])
    far = 2 * last if target is None else target
    return tuple(drawn(side, fitter, exchange.hidden, far) for side in (exchange.a, exchange.b))


def _prices(asked: tuple[Family, Family], prices: Prices) -> tuple[float, float]:
    """Of an image of both. Raises InputError for one that is not known."""
    found = []
    for side in asked:
        price = image_price(side.arms[0], prices)
        if price is None:
            raise InputError(
                f"exchange: no price is given for the labels {side.arms[0].labels} of {side.name}"
            )
        found.append(price)
    return found[0], found[1]


def _money_words(rate: Rate, prices: tuple[float, float], a: str, b: str) -> str:
    """What a thousand images of b cost, and what they are worth in images of a."""
    paid, bought = (1000 * price for price in prices)
    said = f"In money: 1,000 more images of {b} cost {money_word(bought)}"
    if rate.low is None and rate.high is None:
        return f"{said}; what they are worth in images of {a} is not told."
    low = "0" if rate.low is None else money_word(rate.low * paid)
    high = "any price" if rate.high is None else money_word(rate.high * paid)
    point = "" if rate.rate is None else f"{money_word(rate.rate * paid)}, "
    worth = f"{said}; as many of {a} as they are worth cost {point}from {low} to {high}"
    if rate.low is not None and rate.low * paid > bought:
        return f"{worth}: {b} is the cheaper one."
    if rate.high is not None and rate.high * paid < bought:
        return f"{worth}: {a} is the cheaper one."
    return f"{worth}: which is the cheaper one is open."


def _crossing(exchange: Exchange, target: float) -> Crossing:
    last = min(exchange.a.seeds.n[-1], exchange.b.seeds.n[-1])
    if not target > last:
        raise InputError(
            f"exchange: the target is a size beyond what was run ({last:,.0f}), not {target:g}"
        )
    return crossing(exchange.a, exchange.b, exchange.hidden, target)


def _order_words(found: Crossing, a: str, b: str, each: str) -> list[str]:
    """What a crossing says, in points."""
    ahead = a if found.gap < 0 else b
    gap = abs(found.gap)
    ends = sorted((-found.low, -found.high)) if found.gap < 0 else [found.low, found.high]
    said = [
        f"At {found.n:,.0f} {each} {ahead} is foretold to be {gap:.1f} points ahead "
        f"({ends[0]:.1f} to {ends[1]:.1f}); that the order is another one than now has a "
        f"probability of {found.flips:.2f}: it {_ANSWERS[found.answer]}."
    ]
    if found.at is not None:
        said.append(f"The curves are foretold to meet at {found.at:,.0f}.")
    if found.answer == OPEN:
        said.append(f"What would tell: both at {found.next:,.0f} {each.removesuffix(' of each')}.")
    return said


def _where(line: Line) -> str:
    return f"{line.protocol}, {shots_words(line.shots)}, {listed(line.tasks)}"


def _worth(rate: Rate, of: str) -> str:
    """'2.3 of grocery (1.8 to 3.1)', or why no rate is told; `of` is 'of grocery'."""
    if rate.kind == NEVER:
        return f"more than any number {of}: its curve ends at a higher error"
    if rate.kind == OUTSIDE:
        if rate.low is None and rate.high is None:
            return f"a number {of} that is not told: nothing near this size was run"
        if rate.low is not None:
            return f"more than {_number(rate.low)} {of}, which is outside what was measured"
        return f"fewer than {_number(rate.high)} {of}, which is outside what was measured"
    if rate.kind == VARIES:
        return f"different numbers {of}, from size to size: there is no one rate"
    if rate.kind == UNKNOWN:
        why = "the curves are too flat for their noise, or that noise is not known"
        return f"a number {of} that is not identifiable: {why}"
    point = "" if rate.rate is None else f"{_number(rate.rate)} {of}"
    if rate.low is not None and rate.high is not None:
        return f"{point or of} ({_number(rate.low)} to {_number(rate.high)})".strip()
    bound = (
        f"at least {_number(rate.low)}" if rate.high is None else f"at most {_number(rate.high)}"
    )
    return f"{point} ({bound})" if point else f"{bound} {of}"


def _number(value: float | None) -> str:
    assert value is not None
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rates_frame(answer: ExchangeRate) -> pd.DataFrame:
    """A line for each size: n, error (percent), kind, rate, low, high."""
    import pandas as pd

    frame = pd.DataFrame([asdict(rate) for rate in answer.rates])
    numbers = ["n", "error", "rate", "low", "high"]
    return frame.assign(**{name: frame[name].astype(np.float64) for name in numbers})
