"""Any table of learning curves, read and checked: columns curve, n, score."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater import plain
from headwater.analysis.curves.curve import Curve, Unit, curve_of
from headwater.analysis.words import count
from headwater.errors import InputError
from headwater.files import near_beside
from headwater.rows.words import check_distinct

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis.curves.curve import Floats

_DOUBT = 0.25
"""Where so many of the curves go the other way, nobody knows which scores are better [ours]."""
_NEAR = 1 + 1e-6
"""A share may be above 1 by rounding."""
NEEDED = ("curve", "n", "score")
OPTIONAL = ("group", "score_se")
MOST_N, MOST_SCORE = 1e30, 1e12
"""Larger ones are slips of the pen, and their squares no numbers."""
MOST_ROWS = 5_000_000
"""A table of more rows is refused: it would not be one of curves [ours]."""


@dataclass(frozen=True)
class CurveTable:
    """Curves by name, in the order of the table, and what their scores are."""

    curves: Mapping[str, Curve]
    unit: Unit
    told: tuple[str, ...]
    """What was left out, or taken for granted."""


def read_curves(path: str | Path, *, better: str | None = None) -> CurveTable:
    """The curves of a .csv, .tsv or .parquet table with the columns curve, n and score, and maybe
    group and score_se (the standard error of a score).

    Rows of one curve and n are seeds. `better` is "higher" or "lower"; left out, it is what most
    curves do as n grows. Raises InputError for a table that lacks a column, and for an n or a score
    that is no number or not above 0 where it must be, with its row.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file{near_beside(path)}")
    return curves_of(_frame(path), named=str(path), better=better)


def curves_of(frame: pd.DataFrame, *, named: str, better: str | None = None) -> CurveTable:
    """The same of a DataFrame; `named` is what messages call it."""
    if better not in (None, "higher", "lower"):
        raise InputError(f"better is higher or lower, not {better!r}")
    for column in NEEDED:
        if column not in frame.columns:
            headings = [str(heading) for heading in frame.columns]
            near = difflib.get_close_matches(column, headings, n=1)
            advice = f"; did you mean {plain.name(near[0])}?" if near else ""
            raise InputError(
                f"{named}: has no column {column}{advice}; its columns are "
                f"{', '.join(map(plain.name, headings)) or 'none'}"
            )
    if not len(frame):
        raise InputError(f"{named}: holds no rows")
    n = _numbers(frame, "n", named)
    score = _numbers(frame, "score", named, empty=True)
    if (n < 0).any():
        raise InputError(f"{named}, row {int(np.argmax(n < 0)) + 1}: n is below 0")
    for column, values, most in (("n", n, MOST_N), ("score", score, MOST_SCORE)):
        if (np.abs(values) > most).any():
            row = int(np.argmax(np.abs(values) > most)) + 1
            raise InputError(f"{named}, row {row}: {column} is beyond {most:g}")
    given = "score_se" in frame.columns
    se = _numbers(frame, "score_se", named, empty=True) if given else np.full(len(n), np.nan)
    if (se < 0).any():
        raise InputError(f"{named}, row {int(np.argmax(se < 0)) + 1}: score_se is below 0")
    told = []
    empty, at_none = np.isnan(score), n == 0
    if empty.any():
        told.append(f"{_rows(empty)} without a score left out")
    if (at_none & ~empty).any():
        told.append(f"{_rows(at_none & ~empty)} at n = 0 left out: no law has a value there")
    kept = ~(empty | at_none)
    if not kept.any():
        raise InputError(f"{named}: no row has both an n above 0 and a score")
    names = _texts(frame, "curve")[kept]
    groups = _texts(frame, "group")[kept] if "group" in frame.columns else None
    n, score, se = n[kept], score[kept], se[kept]
    order, places = _by_name(names)
    unit = _unit(n, score, {name: places[name] for name in order}, better, named)
    best = "" if unit.best is None else f", {unit.best:g} for the best there can be"
    told.append(f"{'higher' if unit.rising else 'lower'} scores are the better ones{best}")
    curves = {}
    for name in order:
        at = places[name]
        group = _group(groups, at, name, named)
        curves[name] = curve_of(name, n[at], unit.error(score[at]), se=se[at], group=group)
    return CurveTable(curves, unit, tuple(told))


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    readers = {".csv": ",", ".tsv": "\t"}
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif path.suffix in readers:
            frame = _texts_of(path, readers[path.suffix])
        else:
            raise InputError(f"{path}: a table of curves is .csv, .tsv or .parquet")
    except InputError:
        raise
    except Exception as error:  # pandas and pyarrow each have their own kinds
        raise InputError(f"{path}: cannot be read as a table ({error})") from None
    if len(frame) > MOST_ROWS:
        raise InputError(f"{path}: {len(frame):,} rows, more than {MOST_ROWS:,}")
    return frame


def _texts(frame: pd.DataFrame, column: str) -> Any:
    """A column as texts, empty where nothing is written."""
    return frame[column].astype("string").fillna("").to_numpy(dtype=object).astype(str)


def _rows(which: Any) -> str:
    return count(int(which.sum()), "row")


def _texts_of(path: Path, separator: str) -> pd.DataFrame:
    """A table as texts. Raises for rows with more fields than there are columns."""
    import csv
    import warnings

    import pandas as pd

    with path.open(newline="", encoding="utf-8-sig") as file:
        headings = [heading.strip() for heading in next(csv.reader(file, delimiter=separator), [])]
    check_distinct(headings, str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            sep=separator,
            names=headings,
            header=0,
            dtype="string",
            keep_default_na=False,
            na_values=[""],
            index_col=False,
            encoding="utf-8-sig",
        )


def _numbers(frame: pd.DataFrame, column: str, named: str, *, empty: bool = False) -> Floats:
    """A column as finite numbers; NaN for an empty cell where that is allowed."""
    import pandas as pd

    values = frame[column]
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    missing = values.isna().to_numpy()
    wrong = ~np.isfinite(numbers) & ~(missing & empty)
    if wrong.any():
        row = int(np.argmax(wrong))
        said = "is empty" if missing[row] else f"is {plain.name(repr(values.iloc[row]))[:60]}"
        raise InputError(f"{named}, row {row + 1}: {column} {said}, and must be a finite number")
    return numbers


def _by_name(names: Any) -> tuple[list[str], dict[str, Any]]:
    """Names in the order in which they come, and where each stands."""
    unique, first, place = np.unique(names, return_index=True, return_inverse=True)
    by_place = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place))
    parts = np.split(by_place, ends[:-1])
    places = {str(name): part for name, part in zip(unique, parts, strict=True)}
    return [str(unique[at]) for at in np.argsort(first, kind="stable")], places


def _group(groups: Any, at: Any, name: str, named: str) -> str:
    if groups is None:
        return ""
    found = sorted(set(groups[at]))
    if len(found) > 1:
        raise InputError(
            f"{named}: the curve {plain.name(name)} is in two groups, {plain.name(found[0])} and "
            f"{plain.name(found[1])}"
        )
    return str(found[0])


def _unit(
    n: Floats, score: Floats, parts: Mapping[str, Any], better: str | None, named: str
) -> Unit:
    """Whether higher is better, by what most curves do, and the best score there can be: 1 for
    shares, 100 for percent, 0 for what falls. Raises InputError where curves do not agree.
    """
    if better is None:
        trends = {name: _trend(n[at], score[at]) for name, at in parts.items() if len(at) > 1}
        up = [name for name, trend in trends.items() if trend > 0]
        down = [name for name, trend in trends.items() if trend < 0]
        if _DOUBT * len(trends) <= min(len(up), len(down)) or not up + down:
            of = f" ({plain.name(up[0])} rises, {plain.name(down[0])} falls)" if up and down else ""
            raise InputError(
                f"{named}: its curves do not tell whether higher scores are better{of}; say "
                "--better higher or --better lower"
            )
        rising = len(up) > len(down)
    else:
        rising = better == "higher"
    least, most = float(score.min()), float(score.max())
    if not rising:
        return Unit(False, 0.0 if least >= 0 else None)
    if least < 0 or most > 100 * _NEAR:
        return Unit(True, None)
    shares = [name for name, at in parts.items() if score[at].max() <= 1]
    percent = [name for name, at in parts.items() if score[at].min() > 1]
    if shares and percent:
        raise InputError(
            f"{named}: {plain.name(shares[0])} lies between 0 and 1 and {plain.name(percent[0])} "
            "above 1: are these shares and percent? Give all curves in one unit"
        )
    return Unit(True, 1.0 if most <= _NEAR else 100.0)


def _trend(n: Floats, score: Floats) -> float:
    """The sign of a curve's slope over the logarithm of n."""
    size = np.log(n)
    return float(np.sign(((size - size.mean()) * (score - score.mean())).sum()))
