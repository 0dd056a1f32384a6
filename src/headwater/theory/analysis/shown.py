"""Which part of an analysis stands for it where there is room for one.

It is the setting of the constants with the most to show; among equals the one whose values are the
most frequent in the whole table, then the one with the most lines. A sentence and its figure ask
here, so that they speak of the same networks.
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
    """The most frequent value of each constant.

    Among equals the largest, and fresh batches before any number of samples.
    """
    if not len(table):
        return {}
    return {name: table[name].mode(dropna=False).iloc[-1] for name in settings}


def usual(
    lines: pd.DataFrame, settings: Sequence[str], *, most: str, wanted: dict[str, Any]
) -> Shown:
    """The setting with the most values of `most`, then the most values that are those of `wanted`.

    ({}, lines) where there is nothing.
    """

    def rank(candidate: Shown) -> tuple[int, int, int]:
        setting, own_lines = candidate
        num_wanted = sum(same(value, wanted[name]) for name, value in setting.items())
        return own_lines[most].nunique(), num_wanted, len(own_lines)

    return max(reversed(list(groups(lines, settings))), key=rank, default=({}, lines))


def constants_before(table: pd.DataFrame, column: str, *, start: int = 0) -> list[str]:
    """Names of the settings of an analysis: its columns from `start` to the first that describes
    them.
    """
    columns = list(table.columns)
    return columns[start : columns.index(column)]


def shown_errors(table: pd.DataFrame) -> Shown:
    """Networks on coarse and on fine labels, at every k that has both, by any read-out.

    Empty where there is none.
    """
    ends = finished(table)
    ends = ends[ends["labels"].isin(["coarse", "fine"]) & ends["hard_error"].notna()]
    settings = varying(ends)
    main = ends[ends["read_out"] == main_read_out(ends)]
    both = main.groupby([*settings, "subclasses"], dropna=False)["labels"].transform("nunique") > 1
    setting, chosen = usual(
        main[both], settings, most="subclasses", wanted=typical(finished(table), settings)
    )
    return setting, at_setting(ends[ends["subclasses"].isin(chosen["subclasses"])], setting)


def shown_transition(lines: pd.DataFrame, table: pd.DataFrame) -> Shown:
    """One line of `transition`."""
    settings = constants_before(lines, "answer")
    return usual(lines, settings, most="answer", wanted=typical(finished(table), settings))


def shown_ratio(lines: pd.DataFrame, table: pd.DataFrame) -> Shown:
    """One setting of `response_ratio` or `response_exponent`."""
    k = "subclasses" if "subclasses" in lines.columns else "from_k"
    settings = constants_before(lines, k)
    return usual(lines, settings, most=k, wanted=typical(networks(finished(table)), settings))


def shown_phase(lines: pd.DataFrame, table: pd.DataFrame) -> Shown:
    """One plane of `phase`."""
    constants = constants_before(lines, "num_labels", start=3)
    settings = [name for name in constants if name != "sigma_star"]
    return usual(lines, settings, most="sigma_star", wanted=typical(finished(table), settings))


def shown_curve(shapes: pd.DataFrame, table: pd.DataFrame) -> Shown:
    """One curve of `curve_shape`: the one with the most points by the main read-out, at the largest
    k that has as many.
    """
    settings = constants_before(shapes, "samples", start=2)
    longest = shapes[shapes["read_out"] == main_read_out(shapes)]
    longest = longest[longest["num_points"] == longest["num_points"].max()]
    wanted = typical(finished(table), settings)
    return _at_largest_k(*usual(longest, settings, most="samples", wanted=wanted))


def shown_course(courses: pd.DataFrame, table: pd.DataFrame) -> Shown:
    """Lines of `gradual`: the setting with the most label kinds, at the largest k that has as
    many.
    """
    settings = constants_before(courses, "read_out", start=2)
    kinds = courses.groupby(["subclasses", *settings], dropna=False)["labels"].transform("nunique")
    richest = courses[kinds == kinds.max()]
    wanted = typical(networks(table), settings)
    return _at_largest_k(*usual(richest, settings, most="labels", wanted=wanted))


def _at_largest_k(setting: dict[str, Any], lines: pd.DataFrame) -> Shown:
    if not len(lines):
        return {}, lines
    k = int(lines["subclasses"].max())
    return {"subclasses": k} | setting, lines[lines["subclasses"] == k]
