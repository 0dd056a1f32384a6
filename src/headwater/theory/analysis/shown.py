"""Which part of an analysis stands for it where there is room for one: a sentence and its figure
speak of the same networks.

It is the setting of the constants with the most to show; among equals the one whose values are the
most frequent in the whole table, then the one with the most lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headwater.theory.analysis.settings import (
    at_setting,
    finished,
    groups,
    main_read_out,
    networks,
    same,
    varying,
)

if TYPE_CHECKING:
    import pandas as pd

Shown = tuple[dict[str, Any], "pd.DataFrame"]
"""(the setting, as constant -> value; its lines)."""


def typical(table: pd.DataFrame, settings: Sequence[str]) -> dict[str, Any]:
    """The most frequent value of each constant; among equals the largest, and fresh batches before
    any number of samples.
    """
    return (
        {name: table[name].mode(dropna=False).iloc[-1] for name in settings} if len(table) else {}
    )


def usual(
    found: pd.DataFrame, settings: Sequence[str], *, most: str, wanted: dict[str, Any]
) -> Shown:
    """The setting with the most values of `most`, then the most values that are those of `wanted`;
    ({}, found) where there is nothing.
    """

    def rank(one: Shown) -> tuple[int, int, int]:
        setting, part = one
        return (
            part[most].nunique(),
            sum(same(value, wanted[name]) for name, value in setting.items()),
            len(part),
        )

    return max(reversed(list(groups(found, settings))), key=rank, default=({}, found))


def constants_before(table: pd.DataFrame, column: str, *, start: int = 0) -> list[str]:
    """Names of the settings of an analysis: its columns from `start` to the first that is told of
    them.
    """
    columns = list(table.columns)
    return columns[start : columns.index(column)]


def shown_errors(table: pd.DataFrame) -> Shown:
    """Networks on coarse and on fine labels, at every k that has both, by any read-out; empty where
    there is none.
    """
    ends = finished(table)
    ends = ends[ends["labels"].isin(["coarse", "fine"]) & ends["hard_error"].notna()]
    settings = varying(ends)
    main = ends[ends["read_out"] == main_read_out(ends)]
    both = main.groupby([*settings, "subclasses"], dropna=False)["labels"].transform("nunique") > 1
    setting, part = usual(
        main[both], settings, most="subclasses", wanted=typical(finished(table), settings)
    )
    return setting, at_setting(ends[ends["subclasses"].isin(part["subclasses"])], setting)


def shown_transition(lines: pd.DataFrame, table: pd.DataFrame) -> Shown:
    """One line of `transition`."""
    settings = constants_before(lines, "answer")
    return usual(lines, settings, most="answer", wanted=typical(finished(table), settings))


def shown_ratio(lines: pd.DataFrame, table: pd.DataFrame) -> Shown:
    """One setting of `response_ratio` or `response_exponent`."""
    per_k = "subclasses" in lines.columns
    settings = constants_before(lines, "subclasses" if per_k else "from_k")
    return usual(
        lines,
        settings,
        most="subclasses" if per_k else "from_k",
        wanted=typical(networks(finished(table)), settings),
    )


def shown_phase(found: pd.DataFrame, table: pd.DataFrame) -> Shown:
    """One plane of `phase`."""
    settings = [
        name for name in constants_before(found, "num_labels", start=3) if name != "sigma_star"
    ]
    return usual(found, settings, most="sigma_star", wanted=typical(finished(table), settings))


def shown_curve(shapes: pd.DataFrame, table: pd.DataFrame) -> Shown:
    """One curve of `curve_shape`: the one with the most points by the main read-out, at the largest
    k that has as many.
    """
    settings = constants_before(shapes, "samples", start=2)
    own = shapes[shapes["read_out"] == main_read_out(shapes)]
    own = own[own["num_points"] == own["num_points"].max()]
    setting, part = usual(own, settings, most="samples", wanted=typical(finished(table), settings))
    return _at_largest_k(setting, part)


def shown_course(courses: pd.DataFrame, table: pd.DataFrame) -> Shown:
    """Lines of `gradual`: the setting with the most label kinds, at the largest k that has as
    many.
    """
    settings = constants_before(courses, "read_out", start=2)
    kinds = courses.groupby(["subclasses", *settings], dropna=False)["labels"].transform("nunique")
    setting, part = usual(
        courses[kinds == kinds.max()],
        settings,
        most="labels",
        wanted=typical(networks(table), settings),
    )
    return _at_largest_k(setting, part)


def _at_largest_k(setting: dict[str, Any], part: pd.DataFrame) -> Shown:
    if not len(part):
        return {}, part
    k = int(part["subclasses"].max())
    return {"subclasses": k} | setting, part[part["subclasses"] == k]
