"""The transition: the number of subclasses k at which coarse labels fail, and what moves it.

For each seed it is the first k at which the hard error of networks trained on coarse labels crosses
one half, by a straight line in log2 k between the two measured k around it. Between them the curve
is not known: another grid of k gives another point, by more than seeds differ. So the interval of a
transition holds the gap (`below` to `above`) as well as Student's interval over seeds, and a shift
is told only where it is larger than the gaps.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.analysis.intervals import LEVEL, Interval, t_interval
from headwater.theory.analysis.settings import (
    at_setting,
    finished,
    groups,
    main_read_out,
    same,
    setting_words,
    varying,
)
from headwater.theory.analysis.shown import constants_before, typical

if TYPE_CHECKING:
    import pandas as pd

HALF = 0.5
CROSSES = "crosses"
NEVER = "never"
ALREADY = "already at the smallest k"
SOME = "some seeds only"
ONE_K = "one k only"
_KNOWN = (CROSSES, NEVER, ALREADY)
"""Answers of a seed that was measured at two k or more."""
_PLACES = ("transition", "low", "high", "median", "below", "above")


def crossings(
    table: pd.DataFrame, *, labels: str = "coarse", read_out: str | None = None
) -> pd.DataFrame:
    """Where the hard error of each seed crosses one half: one line per setting and seed.

    Columns: settings; seed; answer (crosses, never, already at the smallest k, one k only; None
    where the seed has no hard error at all); log2_k (NaN where it does not cross); below and above
    (the measured k around the crossing, or the largest and the smallest k where there is none);
    returns (the error falls below one half again at a larger k); num_k; num_unconverged.

    read_out: None takes `main_read_out`. A network that was not measured is no point of the line.
    """
    import pandas as pd

    networks = _trained_on(table, labels, read_out)
    settings = varying(networks)
    lines = []
    for setting, of_seed in groups(networks, [*settings, "seed"]):
        lines.append(setting | _crossing(of_seed))
    places = ["log2_k", "below", "above"]
    columns = [*settings, "seed", "answer", *places, "returns", "num_k", "num_unconverged"]
    return pd.DataFrame(lines, columns=columns).astype(dict.fromkeys(places, "float64"))


def _trained_on(table: pd.DataFrame, labels: str, read_out: str | None) -> pd.DataFrame:
    ends = finished(table)
    asked = ends["read_out"] == (read_out or main_read_out(ends))
    return ends[(ends["labels"] == labels) & asked]


def _crossing(networks: pd.DataFrame) -> dict[str, Any]:
    """The networks of one seed, over k."""
    curve = networks.groupby("subclasses")["hard_error"].mean().dropna()
    stopped = ~networks.groupby("subclasses")["converged"].all()
    line: dict[str, Any] = {
        "answer": None,
        "log2_k": None,
        "below": None,
        "above": None,
        "returns": False,
        "num_k": len(curve),
        "num_unconverged": int(stopped.sum()),
    }
    ks, errors = [float(k) for k in curve.index], [float(error) for error in curve]
    if not ks:
        return line
    if len(ks) == 1:
        return line | {"answer": ONE_K}
    if errors[0] >= HALF:
        return line | {"answer": ALREADY, "above": ks[0], "returns": min(errors) < HALF}
    crossing = next((i for i, error in enumerate(errors) if error >= HALF), None)
    if crossing is None:
        return line | {"answer": NEVER, "below": ks[-1]}
    below, above = ks[crossing - 1], ks[crossing]
    low, high = math.log2(below), math.log2(above)
    share = (HALF - errors[crossing - 1]) / (errors[crossing] - errors[crossing - 1])
    return line | {
        "answer": CROSSES,
        "log2_k": low + share * (high - low),
        "below": below,
        "above": above,
        "returns": min(errors[crossing:]) < HALF,
    }


def transition(
    table: pd.DataFrame,
    *,
    labels: str = "coarse",
    read_out: str | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """The k at which the hard error crosses one half: one line per setting.

    Settings are the constants that vary, as columns. Columns besides:

    answer      crosses (every seed does), never (none does, up to the k in `below`), already at the
                smallest k (that in `above`), some seeds only, one k only (nothing can cross), None
                (no hard error was measured)
    transition  mean over seeds, taken in log2 k and given in k; NaN unless every seed crosses, as a
                mean over those that do would be biased
    low, high   Student's interval of it, widened to hold `below` and `above`
    median      in k; seeds that never cross count above all others, those that are past one half
                at the smallest k below all; NaN where it falls among these
    below, above   the smallest and the largest measured k around the seeds' crossings
    num_seeds, and of them num_crosses, num_never, num_already, num_unmeasured (no hard error, or at
    one k alone), num_returns (the error falls below one half again)
    num_unconverged   networks, not seeds, that max_steps stopped
    """
    import pandas as pd

    seeds = crossings(table, labels=labels, read_out=read_out)
    vary = varying(_trained_on(table, labels, read_out))
    settings = [name for name in seeds.columns if name in vary]
    lines = []
    for setting, same_setting in groups(seeds, settings):
        lines.append(setting | _over_seeds(same_setting, level))
    counts = ("num_seeds", "num_crosses", "num_never", "num_already")
    others = ("num_unmeasured", "num_returns", "num_unconverged")
    columns = [*settings, "answer", *_PLACES, *counts, *others]
    return pd.DataFrame(lines, columns=columns).astype(dict.fromkeys(_PLACES, "float64"))


def _over_seeds(seeds: pd.DataFrame, level: float) -> dict[str, Any]:
    """The line of `transition` from the crossings of some seeds."""
    counts = {answer: int((seeds["answer"] == answer).sum()) for answer in (*_KNOWN, ONE_K)}
    num_known = sum(counts[answer] for answer in _KNOWN)
    answer = _common_answer(counts, num_known)
    crossed = seeds["log2_k"].dropna().tolist() if answer == CROSSES else []
    mean = t_interval(crossed, level=level)
    below, above = seeds["below"].min(), seeds["above"].max()
    return {
        "answer": answer,
        "transition": None if mean.mean is None else 2.0**mean.mean,
        "low": None if mean.low is None else min(2.0**mean.low, float(below)),
        "high": None if mean.high is None else max(2.0**mean.high, float(above)),
        "median": _median_k(seeds),
        "below": below,
        "above": above,
        "num_seeds": len(seeds),
        "num_crosses": counts[CROSSES],
        "num_never": counts[NEVER],
        "num_already": counts[ALREADY],
        "num_unmeasured": len(seeds) - num_known,
        "num_returns": int(seeds["returns"].sum()),
        "num_unconverged": int(seeds["num_unconverged"].sum()),
    }


def _common_answer(counts: dict[str, int], num_known: int) -> str | None:
    """The answer of all seeds that could be asked, or that they differ."""
    if not num_known:
        return ONE_K if counts[ONE_K] else None
    return next((answer for answer in _KNOWN if counts[answer] == num_known), SOME)


def _median_k(seeds: pd.DataFrame) -> float | None:
    """The median k of the seeds' crossings; None where it falls among seeds that do not cross."""
    ends = {NEVER: math.inf, ALREADY: -math.inf}
    known = seeds[seeds["answer"].isin(_KNOWN)]
    places = [
        ends.get(answer, log2_k)
        for answer, log2_k in zip(known["answer"], known["log2_k"], strict=True)
    ]
    median = statistics.median(places) if places else math.nan
    return 2**median if math.isfinite(median) else None


def dependence(
    table: pd.DataFrame,
    *,
    labels: str = "coarse",
    read_out: str | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """How the transition moves with each constant while all others stay.

    One line per constant, setting of the others, and value. A series has two values or more at
    which a transition could be looked for; constants that only change together have none. Columns:

    constant, value
    others      the settings that stay, in words
    usual       whether these are each constant's most frequent value: the series to show where
                there is room for one
    base        the value that it is compared with: the most frequent, or the smallest where the
                series lacks that
    shift       octaves of k from the base's transition to this one, mean over seeds that cross at
                both; NaN at the base
    shift_low, shift_high   Student's interval, Bonferroni-corrected for num_comparisons: every
                shift of this table
    shift_seeds
    told        whether the interval excludes 0, and the shift is larger than the gaps between
                measured k around both transitions, within which they are not known
    num_comparisons, and the columns of `transition` from answer on
    """
    import pandas as pd

    lines = transition(table, labels=labels, read_out=read_out, level=level)
    lines = lines[lines["answer"].notna() & (lines["answer"] != ONE_K)]
    settings = constants_before(lines, "answer")
    all_series = _all_series(lines, settings)
    seeds = crossings(table, labels=labels, read_out=read_out)
    num_comparisons = sum(len(series.lines) - 1 for series in all_series)
    wanted = typical(_trained_on(table, labels, read_out), settings)
    kept = [str(name) for name in lines.columns if name not in settings]
    shifts = []
    for series in all_series:
        usual = all(same(value, wanted[name]) for name, value in series.others.items())
        rows = series.lines.to_dict("records")
        base = _base(rows, series.constant, wanted)
        for row in rows:
            gaps = series.paired_shifts(seeds, base[series.constant], row[series.constant])
            mean = t_interval(gaps, level=level, comparisons=num_comparisons)
            shifts.append(
                {
                    "constant": series.constant,
                    "value": row[series.constant],
                    "others": setting_words(series.others),
                    "usual": usual,
                    "base": base[series.constant],
                    "shift": mean.mean,
                    "shift_low": mean.low,
                    "shift_high": mean.high,
                    "shift_seeds": mean.num_seeds,
                    "told": _is_told(mean, max(_gap(base), _gap(row))),
                    "num_comparisons": num_comparisons,
                    **{name: row[name] for name in kept},
                }
            )
    columns = [*_SHIFT_COLUMNS, *kept]
    return pd.DataFrame(shifts, columns=columns).astype(
        dict.fromkeys(("shift", "shift_low", "shift_high"), "float64")
    )


_SHIFT_COLUMNS = (
    *("constant", "value", "others", "usual", "base"),
    *("shift", "shift_low", "shift_high", "shift_seeds", "told", "num_comparisons"),
)


@dataclass(frozen=True)
class _Series:
    """The lines of `transition` along one constant, while the others stay."""

    constant: str
    others: dict[str, Any]
    lines: pd.DataFrame

    def paired_shifts(self, seeds: pd.DataFrame, base: Any, value: Any) -> list[float]:
        """For each seed, octaves of k from the crossing at `base` to that at `value`."""
        if same(base, value):
            return []
        from_base, at_value = (
            at_setting(seeds, self.others | {self.constant: place}).set_index("seed")["log2_k"]
            for place in (base, value)
        )
        return (at_value - from_base).dropna().tolist()


def _all_series(lines: pd.DataFrame, settings: list[str]) -> list[_Series]:
    all_series = []
    for constant in settings:
        others = [name for name in settings if name != constant]
        for setting, along in groups(lines, others):
            if len(along) > 1:
                ordered = along.sort_values(constant, na_position="last")
                all_series.append(_Series(constant, setting, ordered))
    return all_series


def _base(rows: list[dict[Any, Any]], constant: str, wanted: dict[str, Any]) -> dict[Any, Any]:
    """The line that the others of a series are compared with."""
    return next((row for row in rows if same(row[constant], wanted[constant])), rows[0])


def _gap(row: dict[Any, Any]) -> float:
    """Octaves between the measured k around a transition; 0 where there is none."""
    return math.log2(row["above"] / row["below"]) if row["answer"] == CROSSES else 0.0


def _is_told(shift: Interval, gap: float) -> bool:
    """Whether a shift excludes 0 and is larger than the gaps between measured k."""
    if shift.mean is None or shift.low is None or shift.high is None:
        return False
    return (shift.low > 0 or shift.high < 0) and abs(shift.mean) > gap
