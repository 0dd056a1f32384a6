"""What fine labels gain on easy and on hard samples, as plain values and as a chart: gains with
their intervals, and gains against hardness.

The values are those of `headwater hardness` (its --json too); the chart is drawn from them
by vl-convert, or as one offline HTML file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.analysis.hardness import BINS, SPLITS, hardness_bins, hardness_gains
from headwater.analysis.words import missing, shots_word
from headwater.report.chart_file import check_chart, save_chart
from headwater.report.charts.theme import Spec, on_white
from headwater.report.palette import BLUE, GREY, VERMILLION

if TYPE_CHECKING:
    import pandas as pd

SUBSETS = {"easy": BLUE, "all": GREY, "hard": VERMILLION}
_GAINS = ("hard", "easy", "all", "extra")
_WIDTH, _HEIGHT = 220, 180
_TITLE = "What fine labels gain over coarse ones"


def hardness_settings(
    answers: pd.DataFrame,
    *,
    coarse: str | None = None,
    fine: str | None = None,
    hard_share: float | None = None,
) -> list[dict[str, Any]]:
    """The tables of `analysis.hardness` as plain values, a setting (source x task x protocol x
    shots) each: what it is, its `answer` by the cross-fitted split, `splits` (hard, easy, all and
    extra as {gain, low, high}, in shares of 1) and `bins`. None for what is not known. Raises
    InputError as they do.
    """
    bins = hardness_bins(answers, coarse=coarse, fine=fine)
    gains = hardness_gains(answers, coarse=coarse, fine=fine, hard_share=hard_share)
    settings: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in gains.to_dict("records"):
        settings.setdefault(_key(row), _setting(row))["splits"].append(_split(row))
    for row in bins.to_dict("records"):
        settings[_key(row)]["bins"].append(_bin(row))
    return list(settings.values())


def _split(row: dict[Any, Any]) -> dict[str, Any]:
    names = (
        "num_seeds",
        "hard_samples",
        "coarse_on_hard",
        "coarse_on_easy",
        "seeds_needed",
        "num_comparisons",
        "survives",
        "answer",
    )
    gains = {
        samples: _interval(row, samples, f"{samples}_low", f"{samples}_high") for samples in _GAINS
    }
    return {
        "split": row["split"],
        "meaning": SPLITS[row["split"]],
        "biased": row["biased"],
        **{name: _plain(row[name]) for name in names},
        **gains,
    }


def _bin(row: dict[Any, Any]) -> dict[str, Any]:
    names = ("bin", "order", "num_seeds", "samples")
    return {name: _plain(row[name]) for name in names} | _interval(row, "gain", "low", "high")


def _key(row: dict[Any, Any]) -> tuple[Any, ...]:
    return tuple(_plain(row[name]) for name in ("task", "protocol", "shots", "source", "size"))


def _setting(row: dict[Any, Any]) -> dict[str, Any]:
    names = (
        "task",
        "protocol",
        "shots",
        "source",
        "size",
        "coarse",
        "fine",
        "coarse_classes",
        "fine_classes",
        "samples",
        "decides",
        "auc",
        "answer",
    )
    return {name: _plain(row[name]) for name in names} | {"splits": [], "bins": []}


def _interval(row: dict[Any, Any], gain: str, low: str, high: str) -> dict[str, float | None]:
    return {"gain": _plain(row[gain]), "low": _plain(row[low]), "high": _plain(row[high])}


def _plain(value: Any) -> Any:
    """None for null; numpy's numbers as Python's."""
    if missing(value):
        return None
    return value.item() if hasattr(value, "item") else value


def save_hardness(facts: dict[str, Any], path: Path) -> Path:
    """Write the chart of some facts ({"study", "settings"}) and return its path.

    Raises InputError for a format that is not drawn, and where it cannot be written.
    """
    check_chart(path)
    return save_chart(hardness_chart(facts), path)


def hardness_chart(facts: dict[str, Any]) -> Spec:
    """The Vega-Lite specification: on top a line for each setting with its gain on easy, on all and
    on hard samples, and below a panel for each setting with the gain against hardness. Intervals
    are the cross-fitted split's, 95 % over seeds.
    """
    settings = [
        setting | {"name": _name(setting, facts["settings"])} for setting in facts["settings"]
    ]
    share = facts["hard_share"]
    hard = (
        "at least half of the models of both arms with other seeds are wrong"
        if share is None
        else f"the {100 * share:g} % that these models fail most"
    )
    panels = [_bins_panel(setting, coloured=share is None) for setting in settings]
    return on_white(
        {
            "title": {
                "text": f"{_TITLE}: {facts['study']}",
                "subtitle": [
                    f"Points of accuracy, mean and 95 % interval over seeds. Hard: {hard}",
                    "Below: against hardness, the share of other seeds' models of both arms that "
                    "are wrong; a point's size is its number of samples",
                ],
                "fontSize": 16,
                "offset": 14,
                "anchor": "start",
            },
            "vconcat": [
                _gains_panel(settings),
                {"concat": panels, "columns": 3, "spacing": 24},
            ],
            "spacing": 24,
            "resolve": {"scale": {"size": "independent"}},
        }
    )


def _name(setting: dict[str, Any], settings: list[dict[str, Any]]) -> str:
    """The task, and what else tells it from the others."""
    differing = {
        "source": str(setting["source"]),
        "size": f"{setting['size']} images",
        "protocol": str(setting["protocol"]),
        "shots": f"{shots_word(setting['shots'])} per class",
    }
    alike = [other for other in settings if other["task"] == setting["task"]]
    names = [str(setting["task"])]
    for field, word in differing.items():
        if any(other[field] != setting[field] for other in alike):
            names.append(word)
    classes = f"{setting['fine_classes']} over {setting['coarse_classes']} classes"
    return f"{', '.join(names)}: {classes}"


def _points(interval: dict[str, Any]) -> dict[str, float | None]:
    return {
        name: None if interval[name] is None else round(100 * interval[name], 3)
        for name in ("gain", "low", "high")
    }


def _gains_panel(settings: list[dict[str, Any]]) -> Spec:
    values = [value for setting in settings for value in _gain_values(setting)]
    x: Spec = {"type": "quantitative", "axis": {"title": "gain, points", "tickCount": 8}}
    base: Spec = {
        "y": {
            "field": "name",
            "type": "nominal",
            "sort": [setting["name"] for setting in settings],
            "axis": {"title": None, "labelLimit": 280, "ticks": False, "domain": False},
        },
        "yOffset": {"field": "subset", "sort": list(SUBSETS)},
        "color": _colours(),
    }
    size = {"size": {"value": 50}}
    return {
        "description": "Gain on easy, on all and on hard samples",
        "data": {"values": values},
        "width": 480,
        "height": {"step": 15},
        "layer": [_zero("x"), *_marks(base, "x", x, size, intervals=_have_intervals(values))],
    }


def _gain_values(setting: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One a subset, by the cross-fitted split."""
    split = setting["splits"][0]
    for subset in SUBSETS:
        if split[subset]["gain"] is not None:
            yield {"name": setting["name"], "subset": subset} | _points(split[subset])


def _have_intervals(values: list[dict[str, Any]]) -> bool:
    return any(value["low"] is not None for value in values)


def _bins_panel(setting: dict[str, Any], *, coloured: bool) -> Spec:
    values = [
        {"bin": each["bin"], "samples": each["samples"], "hard": each["order"] >= 3} | _points(each)
        for each in setting["bins"]
    ]
    by_hardness = {
        "condition": {"test": "datum.hard", "value": SUBSETS["hard"]},
        "value": SUBSETS["easy"],
    }
    base: Spec = {
        "x": {
            "field": "bin",
            "type": "ordinal",
            "sort": list(BINS),
            "scale": {"domain": list(BINS)},
            "axis": {"title": "hardness, %", "labelAngle": 0},
        },
        "color": by_hardness if coloured else {"value": GREY},
    }
    y: Spec = {"type": "quantitative", "axis": {"title": "gain, points", "tickCount": 5}}
    size: Spec = {
        "size": {
            "field": "samples",
            "type": "quantitative",
            "scale": {"rangeMin": 25, "rangeMax": 220, "zero": True},
            "legend": None,
        }
    }
    return {
        "title": {"text": setting["name"], "fontSize": 12},
        "data": {"values": values},
        "width": _WIDTH,
        "height": _HEIGHT,
        "layer": [_zero("y"), *_marks(base, "y", y, size, intervals=_have_intervals(values))],
    }


def _marks(base: Spec, along: str, axis: Spec, size: Spec, *, intervals: bool) -> list[Spec]:
    """Points, and rules for their intervals where there are any, as an empty layer would have no
    extent.
    """
    rule = {
        "mark": {"type": "rule", "strokeWidth": 1.6},
        "encoding": base | {along: axis | {"field": "low"}, f"{along}2": {"field": "high"}},
    }
    tip = [
        {"field": name, "title": title, "format": ".1f"}
        for name, title in (("gain", "gain, points"), ("low", "from"), ("high", "to"))
    ]
    point = {
        "mark": {"type": "point", "filled": True, "opacity": 1},
        "encoding": base | size | {along: axis | {"field": "gain"}, "tooltip": tip},
    }
    return [rule, point] if intervals else [point]


def _zero(along: str) -> Spec:
    return {
        "mark": {"type": "rule", "color": GREY, "strokeDash": [3, 3], "aria": False},
        "encoding": {along: {"datum": 0, "type": "quantitative"}},
    }


def _colours() -> Spec:
    scale = {"domain": list(SUBSETS), "range": list(SUBSETS.values())}
    return {
        "field": "subset",
        "type": "nominal",
        "title": "samples",
        "scale": scale,
        "legend": {"orient": "right", "columns": 1},
    }
