"""What moves the transition: the k at which coarse labels fail, against each constant."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headwater.analysis.words import missing
from headwater.report.palette import BLUE, ORANGE, PURPLE, VERMILLION
from headwater.theory.analysis import dependence
from headwater.theory.analysis.settings import constant_word, setting_words
from headwater.theory.analysis.transitions import CROSSES, NEVER
from headwater.theory.report.drawing import Look, Point, Spec, nominal, title

if TYPE_CHECKING:
    import pandas as pd

_HEADINGS = {
    "sigma_star": "σ*: strong noise of hard samples",
    "alpha_dagger": "α†: wrong common feature in hard samples",
    "sigma_zeta": "σζ: noise on every patch",
    "alpha": "α: strength of features",
    "s": "s*: patches of a feature",
    "patches": "P: patches",
    "d": "d: dimensions",
    "width": "neurons of each label",
    "init": "scale of first weights",
    "bias": "bias of neurons",
    "lr": "learning rate",
    "train_samples": "training samples",
    "iota": "ι: spread of strengths and patches",
    "batch": "samples of a batch",
    "max_steps": "steps at most",
    "neurons": "neurons in all",
    "hard_share": "share of hard samples in training",
    "label_noise": "share of wrong labels",
    "stop_loss": "loss at which training ends",
}
_MEDIAN, _ALREADY = "some seeds only: median", "already"
_LOOKS = {
    "crosses": Look(BLUE, "circle"),
    _MEDIAN: Look(PURPLE, "diamond"),
    NEVER: Look(ORANGE, "triangle-up"),
    _ALREADY: Look(VERMILLION, "triangle-down"),
}
_SHOWN = (
    "k at which the hard error crosses one half; bars: 95 % over seeds, and the gap between "
    "the measured k; triangles: beyond the k tried"
)


def dependence_figure(table: pd.DataFrame) -> Spec | None:
    """The k of the transition against each constant that varies while the others stay.

    A panel for each constant. None where no constant varies so.
    """
    lines = dependence(table)
    if len(lines) and lines["usual"].any():
        lines = lines[lines["usual"]]
    points: dict[int, Point] = {}
    for index, row in zip(lines.index, lines.to_dict("records"), strict=True):
        point = _point(row)
        if point is not None:
            points[int(index)] = point
    there = {point["kind"] for point in points.values()}
    looks = {kind: look for kind, look in _LOOKS.items() if kind in there}
    panels = []
    for (constant, others), series in lines.groupby(["constant", "others"], sort=False):
        own = [points[index] for index in series.index if index in points]
        if own:
            apart = str(others) if others and not series["usual"].all() else ""
            panel = _panel(own, str(constant), looks)
            panels.append({"title": _heading(str(constant), apart)} | panel)
    if not panels:
        return None
    heading = title(
        "The number of subclasses at which coarse labels fail, by each constant", _SHOWN, {}
    )
    heading["subtitle"] = [_SHOWN, *_usual_constants(lines)]
    return {"title": heading, "concat": panels, "columns": 3, "spacing": 36}


def _heading(constant: str, others: str) -> Spec:
    return {
        "text": _HEADINGS.get(constant, constant),
        "subtitle": textwrap.wrap(f"at {others}", 44) if others else [],
    }


def _usual_constants(lines: pd.DataFrame) -> list[str]:
    """What stays in every panel, where the panels share it."""
    if not lines["usual"].all():
        return []
    bases = lines.drop_duplicates("constant").set_index("constant")["base"].to_dict()
    words = setting_words({str(name): value for name, value in bases.items()})
    return textwrap.wrap(f"in each panel all else at {words}", 130)


def _point(row: Mapping[Any, Any]) -> Point | None:
    """What is drawn of a line of `dependence`.

    Its mean; or where some seeds do not cross, their median, or the end of what was tried. None
    where even that is not known.
    """
    point: Point = {
        "value": constant_word(row["constant"], row["value"]).rpartition(" = ")[2],
        "seeds": int(row["num_seeds"]),
        "crossing": int(row["num_crosses"]),
    }
    for name in ("low", "high", "below", "above"):
        point[name] = None if missing(row[name]) else float(row[name])
    if row["answer"] == CROSSES:
        return point | {"at": float(row["transition"]), "kind": "crosses"}
    if not missing(row["median"]):
        kind, place = _MEDIAN, row["median"]
    elif row["num_never"] >= row["num_already"]:
        kind, place = NEVER, row["below"]
    else:
        kind, place = _ALREADY, row["above"]
    if missing(place):
        return None
    return point | {"below": None, "above": None, "at": float(place), "kind": kind}


def _panel(points: Sequence[Point], constant: str, looks: Mapping[str, Look]) -> Spec:
    x = {
        "field": "value",
        "type": "ordinal",
        "sort": [point["value"] for point in points],
        "axis": {"title": constant, "labelAngle": 0, "grid": False},
    }
    y: Spec = {
        "type": "quantitative",
        "scale": {"type": "log", "base": 2, "nice": False, "padding": 14},
        "axis": {"title": "k (log scale)", "tickCount": 5},
    }
    layers = []
    for low, high, stroke in (("below", "above", 1.0), ("low", "high", 3.5)):
        if any(point[low] is not None for point in points):
            layers.append(
                {
                    "transform": [{"filter": f"datum.{low} !== null"}],
                    "mark": {"type": "rule", "strokeWidth": stroke, "opacity": 0.6, "color": BLUE},
                    "encoding": {"x": x, "y": y | {"field": low}, "y2": {"field": high}},
                }
            )
    kinds = list(looks)
    marks = {
        "x": x,
        "y": y | {"field": "at"},
        "color": nominal("kind", kinds, [look.colour for look in looks.values()]),
        "shape": nominal("kind", kinds, [look.shape for look in looks.values()]),
        "tooltip": _tips(constant),
    }
    layers.append(
        {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": marks}
    )
    return {"data": {"values": list(points)}, "width": 215, "height": 180, "layer": layers}


def _tips(constant: str) -> list[Spec]:
    return [
        {"field": "value", "title": constant},
        {"field": "at", "title": "k", "format": ".3~g"},
        {"field": "kind", "title": "one half"},
        {"field": "low", "title": "95 % from", "format": ".3~g"},
        {"field": "high", "title": "to", "format": ".3~g"},
        {"field": "below", "title": "measured below", "format": "~g"},
        {"field": "above", "title": "and above", "format": "~g"},
        {"field": "crossing", "title": "seeds that cross"},
        {"field": "seeds", "title": "of"},
    ]
