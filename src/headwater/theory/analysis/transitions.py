"""The transition: the number of subclasses k at which coarse labels stop being enough, and what
moves it.

For each seed it is the first k at which the hard error of networks trained on coarse labels crosses
one half, by a straight line in log2 k between the two measured k around it. Between them the curve
is not known: another grid of k gives another point, by more than seeds differ. So the interval of a
transition holds the gap (`below` to `above`) as well as Student's interval over seeds, and a shift
is told only where it is larger than the gaps.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headwater.analysis.intervals import LEVEL, t_interval
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
CROSSES, NEVER, ALREADY, SOME, ONE_K = (
    "crosses",
    "never",
    "already at the smallest k",
    "some seeds only",
    "one k only",
)


def crossings(
    table: pd.DataFrame, *, labels: str = "coarse", read_out: str | None = None
) -> pd.DataFrame:
    """One line per setting and seed: settings as columns, seed, answer (crosses, never, already at
    the smallest k, one k only; None where the seed has no hard error at all), log2_k (NaN where it
    does not cross), below and above (the measured k around the crossing, or the largest and the
    smallest k where there is none), returns (the error falls below one half again at a larger k),
    num_k, num_unconverged.

    read_out: None takes `main_read_out`. A network that was not measured is no point of the line.
    """
    import pandas as pd

    chosen = _chosen(table, labels, read_out)
    settings = varying(chosen)
    found = [setting | _crossing(part) for setting, part in groups(chosen, [*settings, "seed"])]
    columns = [
        *settings,
        "seed",
        "answer",
        "log2_k",
        "below",
        "above",
        "returns",
        "num_k",
        "num_unconverged",
    ]
    return pd.DataFrame(found, columns=columns).astype(
        {"log2_k": "float64", "below": "float64", "above": "float64"}
    )


def _chosen(table: pd.DataFrame, labels: str, read_out: str | None) -> pd.DataFrame:
    lines = finished(table)
    return lines[
        (lines["labels"] == labels) & (lines["read_out"] == (read_out or main_read_out(lines)))
    ]


def _crossing(part: pd.DataFrame) -> dict[str, Any]:
    curve = part.groupby("subclasses")["hard_error"].mean().dropna()
    stopped = ~part.groupby("subclasses")["converged"].all()
    record: dict[str, Any] = {
        "num_k": len(curve),
        "num_unconverged": int(stopped.sum()),
        "log2_k": None,
        "returns": False,
    }
    ks, values = [float(k) for k in curve.index], [float(value) for value in curve]
    if not ks:
        return record | {"answer": None, "below": None, "above": None}
    if len(ks) == 1:
        return record | {"answer": ONE_K, "below": None, "above": None}
    if values[0] >= HALF:
        return record | {
            "answer": ALREADY,
            "below": None,
            "above": ks[0],
            "returns": min(values) < HALF,
        }
    at = next((i for i, value in enumerate(values) if value >= HALF), None)
    if at is None:
        return record | {"answer": NEVER, "below": ks[-1], "above": None}
    low, high = math.log2(ks[at - 1]), math.log2(ks[at])
    share = (HALF - values[at - 1]) / (values[at] - values[at - 1])
    crossed = {
        "answer": CROSSES,
        "log2_k": low + share * (high - low),
        "below": ks[at - 1],
        "above": ks[at],
    }
    return record | crossed | {"returns": min(values[at:]) < HALF}


def transition(
    table: pd.DataFrame,
    *,
    labels: str = "coarse",
    read_out: str | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """One line per setting (constants that vary, as columns): the k at which the hard error crosses
    one half.

    answer: crosses (every seed does), never (none does, up to the k in `below`), already at the
    smallest k (that in `above`), some seeds only, one k only (nothing can cross), None (no hard
    error was measured). transition: mean over seeds, taken in log2 k and given in k; low, high:
    Student's interval of it, widened to hold `below` and `above`; NaN unless every seed crosses, as
    a mean over those that do would be biased. median: in k, seeds that never cross counted above
    all others and those that are past it already below; NaN where it falls among these. below,
    above: the smallest and the largest measured k around the seeds' crossings. num_seeds, and of
    them num_crosses, num_never, num_already, num_unmeasured (no hard error, or at one k alone),
    num_returns (error falls below one half again). num_unconverged: networks, not seeds, that
    max_steps stopped.
    """
    import pandas as pd

    found = crossings(table, labels=labels, read_out=read_out)
    settings = [name for name in found.columns if name in varying(_chosen(table, labels, read_out))]
    columns = [
        *settings,
        "answer",
        "transition",
        "low",
        "high",
        "median",
        "below",
        "above",
        "num_seeds",
        "num_crosses",
        "num_never",
        "num_already",
    ]
    columns += ["num_unmeasured", "num_returns", "num_unconverged"]
    out = pd.DataFrame(
        [setting | _line(part, level) for setting, part in groups(found, settings)], columns=columns
    )
    return out.astype(
        dict.fromkeys(("transition", "low", "high", "median", "below", "above"), "float64")
    )


def _line(part: pd.DataFrame, level: float) -> dict[str, Any]:
    counts = {
        answer: int((part["answer"] == answer).sum()) for answer in (CROSSES, NEVER, ALREADY, ONE_K)
    }
    told = counts[CROSSES] + counts[NEVER] + counts[ALREADY]
    whole = next(
        (answer for answer in (CROSSES, NEVER, ALREADY) if told and counts[answer] == told), SOME
    )
    found = t_interval(part["log2_k"].dropna().tolist() if whole == CROSSES else [], level=level)
    ends = {NEVER: math.inf, ALREADY: -math.inf}
    placed = [
        ends.get(answer, log2_k)
        for answer, log2_k in zip(part["answer"], part["log2_k"], strict=True)
        if answer in (CROSSES, NEVER, ALREADY)
    ]
    middle = statistics.median(placed) if placed else math.nan
    return {
        "answer": whole if told else ONE_K if counts[ONE_K] else None,
        "transition": _power(found.mean),
        "low": None if found.low is None else min(2.0**found.low, float(part["below"].min())),
        "high": None if found.high is None else max(2.0**found.high, float(part["above"].max())),
        "median": 2**middle if math.isfinite(middle) else None,
        "below": part["below"].min(), "above": part["above"].max(),
        "num_seeds": len(part), "num_crosses": counts[CROSSES], "num_never": counts[NEVER], "num_already": counts[ALREADY],
        "num_unmeasured": len(part) - told, "num_returns": int(part["returns"].sum()), "num_unconverged": int(part["num_unconverged"].sum()),
    }  # fmt: skip


def _power(log2_k: float | None) -> float | None:
    return None if log2_k is None else 2.0**log2_k


def dependence(
    table: pd.DataFrame,
    *,
    labels: str = "coarse",
    read_out: str | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """How the transition moves with each constant while all others stay: one line per constant,
    setting of the others, and value.

    Columns: constant, value, others (the settings that stay, in words), usual (these are each
    constant's most frequent value: the series to show where there is room for one), base (the value
    that it is compared with: the most frequent, or the smallest where the series lacks that), shift
    (octaves of k from the base's transition to this one, mean over seeds that cross at both; NaN at
    the base), shift_low, shift_high (Student's interval, Bonferroni-corrected for num_comparisons:
    every shift of this table), shift_seeds, told (the interval excludes 0, and the shift is larger
    than the gaps between measured k around both transitions, within which they are not known),
    num_comparisons; and the columns of `transition` from answer on.

    A series has two values or more at which a transition could be looked for. Constants that only
    change together have none.
    """
    import pandas as pd

    lines = transition(table, labels=labels, read_out=read_out, level=level)
    seeds = crossings(table, labels=labels, read_out=read_out)
    lines = lines[lines["answer"].notna() & (lines["answer"] != ONE_K)]
    settings = constants_before(lines, "answer")
    series = [found for constant in settings for found in _series(lines, settings, constant)]
    comparisons = sum(len(part) - 1 for *_, part in series)
    wanted = typical(_chosen(table, labels, read_out), settings)
    records = []
    for constant, others, part in series:
        base = next(
            (value for value in part[constant] if same(value, wanted[constant])),
            part[constant].iloc[0],
        )
        told = {
            "constant": constant,
            "others": setting_words(others),
            "usual": all(same(value, wanted[name]) for name, value in others.items()),
            "base": base,
        }
        gaps = {row[constant]: _octaves(row) for row in part.to_dict("records")}
        of_base = next(gap for value, gap in gaps.items() if same(value, base))
        for row in part.to_dict("records"):
            shift = _shift(seeds, others, constant, (base, row[constant]), level, comparisons)
            low, high = shift["shift_low"], shift["shift_high"]
            shift["told"] = (
                low is not None
                and (low > 0 or high < 0)
                and abs(shift["shift"]) > max(of_base, _octaves(row))
            )
            records.append(
                told
                | {"value": row[constant]}
                | shift
                | {str(name): value for name, value in row.items() if name not in settings}
            )
    columns = [
        "constant",
        "value",
        "others",
        "usual",
        "base",
        "shift",
        "shift_low",
        "shift_high",
        "shift_seeds",
        "told",
        "num_comparisons",
    ]
    columns += [name for name in lines.columns if name not in settings]
    return pd.DataFrame(records, columns=columns).astype(
        dict.fromkeys(("shift", "shift_low", "shift_high"), "float64")
    )


def _octaves(row: dict[Any, Any]) -> float:
    """Width of the gap around a transition; nothing where it is open."""
    return math.log2(row["above"] / row["below"]) if row["answer"] == CROSSES else 0.0


def _series(
    lines: pd.DataFrame, settings: list[str], constant: str
) -> Iterator[tuple[str, dict[str, Any], pd.DataFrame]]:
    for others, part in groups(lines, [name for name in settings if name != constant]):
        if len(part) > 1:
            yield constant, others, part.sort_values(constant, na_position="last")


def _shift(
    seeds: pd.DataFrame,
    others: dict[str, Any],
    constant: str,
    values: tuple[Any, Any],
    level: float,
    comparisons: int,
) -> dict[str, Any]:
    base, other = (
        at_setting(seeds, others | {constant: value}).set_index("seed")["log2_k"]
        for value in values
    )
    gaps = [] if same(*values) else (other - base).dropna().tolist()
    found = t_interval(gaps, level=level, comparisons=comparisons)
    return {
        "shift": found.mean,
        "shift_low": found.low,
        "shift_high": found.high,
        "shift_seeds": found.num_seeds,
        "num_comparisons": comparisons,
    }
