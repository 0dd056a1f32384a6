"""Charts of simulated networks as Vega-Lite specifications: one function a figure, from an analysis
of the table to a dict, None where the table lacks it.

Errors are drawn in percent; bars are Student's 95 % intervals over seeds. Values of one k are drawn
a little apart where they would hide each other; what the pointer tells is the true k. Where the
table has several settings of the constants, the one that analysis/theory/shown.py chooses is drawn,
and named.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from headwater.analysis.words import missing
from headwater.report.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from headwater.theory.analysis import (
    curve,
    curve_shape,
    dependence,
    errors,
    gradual,
    phase,
    response_exponent,
    response_ratio,
)
from headwater.theory.analysis.label_curves import MAIN, TOO_FEW
from headwater.theory.analysis.settings import (
    READ_OUTS,
    at_setting,
    constant_word,
    finished,
    setting_words,
)
from headwater.theory.analysis.shown import (
    constants_before,
    shown_course,
    shown_curve,
    shown_errors,
    shown_phase,
    shown_ratio,
    typical,
    usual,
)
from headwater.theory.analysis.transitions import CROSSES, NEVER

if TYPE_CHECKING:
    import pandas as pd

Spec = dict[str, Any]
_APART = 1.09
_MARGIN = 1.25
_SYMBOLS = {
    "sigma_star": "σ*: strong noise of hard samples", "alpha_dagger": "α†: wrong common feature in "
    "hard samples", "sigma_zeta": "σζ: noise on every patch",
    "alpha": "α: strength of features", "s": "s*: patches of a "
    "feature", "patches": "P: patches", "d": "d: dimensions", "width": "neurons of each label",
    "init": "scale of first weights", "bias": "bias of neurons", "lr": "learning rate", "train_samples": "training samples",
    "iota": "ι: spread of strengths and patches", "batch": "samples of a batch", "max_steps": "steps at most", "neurons": "neurons in all",
    "hard_share": "share of hard samples in training", "label_noise": "share of wrong labels", "stop_loss": "loss at which training ends",
}  # fmt: skip


def error_figure(table: pd.DataFrame) -> Spec | None:
    """Hard and easy error against k for coarse and fine labels, a series for each read-out of the
    fine networks.
    """
    setting, part = shown_errors(table)
    if not len(part) or part["subclasses"].nunique() < 2:
        return None
    ends = finished(table)
    found = errors(
        at_setting(
            ends[ends["labels"].isin(["coarse", "fine"]) & ends["hard_error"].notna()], setting
        )
    )  # also k that one of them alone has
    found = found[(found["labels"] == "fine") | (found["read_out"] == _first(found["read_out"]))]
    words = ["coarse labels", *(f"fine labels, {word}" for word in READ_OUTS)]
    named = [
        "coarse labels" if row["labels"] == "coarse" else f"fine labels, {row['read_out']}"
        for row in found.to_dict("records")
    ]
    style = dict(
        zip(
            words,
            ((VERMILLION, "circle"), (BLUE, "square"), (SKY, "diamond"), (GREEN, "triangle-up")),
            strict=True,
        )
    )
    present = [word for word in words if word in named]
    values = [
        _error_record(row)
        | {
            "series": name,
            "k": row["subclasses"],
            "x": row["subclasses"] * _APART ** (present.index(name) - (len(present) - 1) / 2),
        }
        for row, name in zip(found.to_dict("records"), named, strict=True)
        if not missing(row["error"])
    ]
    panels = [
        {"title": f"{samples} test samples"}
        | _error_panel(
            [v for v in values if v["samples"] == samples],
            _k_axis(values),
            {w: style[w] for w in present},
        )
        for samples in ("hard", "easy")
        if any(v["samples"] == samples for v in values)
    ]
    title = "Errors against the number of subclasses"
    return {
        "title": _title(title, "share of test samples whose superclass is told wrongly", setting),
        "hconcat": panels,
        "spacing": 40,
    }


def _first(read_outs: pd.Series[Any]) -> str:
    return str(next(word for word in (*READ_OUTS, *read_outs) if word in set(read_outs)))


def _title(text: str, shown: str, setting: dict[str, Any]) -> Spec:
    words = setting_words(setting)
    return {
        "text": text,
        "subtitle": [shown, *([f"at {words}"] if words else [])],
        "fontSize": 14,
        "offset": 10,
    }


def _error_record(row: dict[Any, Any]) -> dict[str, Any]:
    told = {
        name: None if missing(row[name]) else round(100 * float(row[name]), 3)
        for name in ("error", "low", "high")
    }
    return told | {
        "spread": _spread(row),
        "seeds": int(row["num_seeds"]),
        "samples": row["samples"],
    }


def _spread(row: dict[Any, Any]) -> str:
    if row["num_seeds"] < 2:
        return "one seed: no interval"
    if row["agree"]:
        within = (
            ""
            if missing(row["within_low"])
            else f"; test samples leave {100 * row['within_low']:.2g} to "
            f"{100 * row['within_high']:.3g} %"
        )
        return f"every seed the same{within}"
    return f"{100 * row['low']:.2f} to {100 * row['high']:.2f} %"


def _error_axis() -> Spec:
    return {
        "type": "quantitative",
        "scale": {"domain": [0, 100], "nice": False},
        "axis": {"title": "told wrongly, %", "tickCount": 5},
    }


def _k_axis(
    values: list[dict[str, Any]], title: str = "subclasses of each superclass, k (log scale)"
) -> Spec:
    ks = sorted({v["k"] for v in values})
    scale = {
        "type": "log",
        "base": 2,
        "domain": [min(ks) / _MARGIN, max(ks) * _MARGIN],
        "nice": False,
    }
    return {
        "field": "x",
        "type": "quantitative",
        "scale": scale,
        "axis": {"title": title, "values": _spaced(ks), "format": "~s", "grid": False},
    }


def _spaced(values: list[Any]) -> list[Any]:
    """Ticks at measured values only, at least a factor 1.5 apart, so that their words do not
    meet.
    """
    kept: list[Any] = []
    for value in values:
        if not kept or value >= 1.5 * kept[-1]:
            kept.append(value)
    return kept


def _error_panel(values: list[dict[str, Any]], x: Spec, style: dict[str, tuple[str, str]]) -> Spec:
    y = _error_axis()
    colour: Spec = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(style), "range": [c for c, _ in style.values()]},
    }
    shape: Spec = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(style), "range": [s for _, s in style.values()]},
    }
    tip = [
        {"field": "series", "title": "labels"}, {"field": "k", "title": "k"}, {"field": "error", "title": "told "
        "wrongly, %", "format": ".2f"},
        {"field": "spread", "title": "95 %"}, {"field": "seeds", "title": "seeds"},
    ]  # fmt: skip
    return {
        "data": {"values": values},
        "width": 340,
        "height": 230,
        "layer": _layers(y, "error", {"x": x, "color": colour}, shape, tip),
    }


def _layers(y: Spec, mean: str, shared: Spec, shape: Spec, tip: list[Spec]) -> list[Spec]:
    """Interval, line and points of series; nothing is cut, as errors and their intervals lie in the
    frame.
    """
    return [
        {"transform": [{"filter": "datum.low !== null"}], "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.5},
         "encoding": shared | {"y": y | {"field": "low"}, "y2": {"field": "high"}}},
        {"mark": {"type": "line", "strokeWidth": 1.8}, "encoding": shared | {"y": y | {"field": mean}}},
        {"mark": {"type": "point", "filled": True, "size": 55, "opacity": 1}, "encoding": shared | {"y": y | {"field": mean}, "shape": shape, "tooltip": tip}},
    ]  # fmt: skip


_COURSES = {
    "common_aligned_mean": ("common, own class", VERMILLION, [1, 0]),
    "fine_aligned_mean": ("fine, own class", BLUE, [1, 0]),
    "common_other_mean": ("common, other classes", VERMILLION, [4, 3]),
    "fine_other_mean": ("fine, other classes", BLUE, [4, 3]),
}
_ERROR_COURSES = {
    "hard_error": ("hard samples", PURPLE, [1, 0]),
    "easy_error": ("easy samples", GREEN, [4, 3]),
}


def course_figure(table: pd.DataFrame) -> Spec | None:
    """Responses to features, and below them errors, against training steps; a column for each kind
    of labels.
    """
    found = gradual(table)
    courses = found[found["read_out"].isna()]
    if not len(courses):
        return None
    setting, part = shown_course(courses, table)
    kinds = sorted(part["labels"].unique(), key=lambda word: (word != "coarse", word))
    tests, tested = _tested(found, setting, table)
    rows = [_course_row(part, kinds, _COURSES, "response <w, v>", "{} labels")]
    rows += (
        [_course_row(tests, kinds, _ERROR_COURSES, "told wrongly, %", "{} labels: errors")]
        if len(tests)
        else []
    )
    title = _title(
        "Which features are learned, and when",
        "mean response of neurons, band: 95 % interval over seeds",
        setting | tested,
    )
    return {"title": title, "vconcat": rows}


def _tested(
    found: pd.DataFrame, setting: dict[str, Any], table: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Courses of errors of the networks at a setting, by one read-out in one test; and what of the
    test had to be chosen.
    """
    known = {
        name: value
        for name, value in setting.items()
        if not missing(value) or name == "train_samples"
    }
    tests = at_setting(
        found[found["read_out"].notna() & found["quantity"].isin(list(_ERROR_COURSES))], known
    )
    tests = tests[tests["read_out"] == _first(tests["read_out"])] if len(tests) else tests
    others = [name for name in constants_before(found, "read_out", start=2) if name not in known]
    chosen, own = usual(tests, others, most="labels", wanted=typical(table, others))
    return own, chosen


def _course_row(
    part: pd.DataFrame,
    kinds: list[str],
    names: dict[str, tuple[str, str, list[int]]],
    title: str,
    heading: str,
) -> Spec:
    factor = 100 if "hard_error" in names else 1
    panels = []
    part = part[part["quantity"].isin(list(names))]
    ends = (
        [0.0, 100.0]
        if factor == 100
        else [float(part[["mean", "low"]].min().min()), float(part[["mean", "high"]].max().max())]
    )
    for labels in kinds:
        own = part[part["labels"] == labels]
        values = [
            {
                "series": names[row["quantity"]][0],
                "steps": row["steps"],
                "seeds": row["num_seeds"],
                "stopped": row["num_stopped"],
            }
            | {
                name: None if missing(row[name]) else factor * round(float(row[name]), 6)
                for name in ("mean", "low", "high")
            }
            for row in own.to_dict("records")
        ]
        if values:
            panels.append(
                {"title": heading.format(labels)}
                | _course_panel(values, list(names.values()), title, ends)
            )
    return {"hconcat": panels, "spacing": 40}


def _course_panel(
    values: list[dict[str, Any]],
    styles: list[tuple[str, str, list[int]]],
    title: str,
    ends: list[float],
) -> Spec:
    present = [style for style in styles if any(v["series"] == style[0] for v in values)]
    colour: Spec = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": [s[0] for s in present], "range": [s[1] for s in present]},
    }
    dash: Spec = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": [s[0] for s in present], "range": [s[2] for s in present]},
    }
    ticks = [
        0,
        *(10**power for power in range(1, 8) if 10**power <= max(v["steps"] for v in values)),
    ]
    axis = {"title": "training steps (log scale)", "values": ticks, "format": ",d", "grid": False}
    x = {
        "field": "steps",
        "type": "quantitative",
        "scale": {"type": "symlog", "constant": 3},
        "axis": axis,
    }
    y: Spec = {
        "type": "quantitative",
        "scale": {"domain": ends},
        "axis": {"title": title, "tickCount": 5},
    }
    tip = [
        {"field": "series", "title": "of"}, {"field": "steps", "title": "step"},
        {"field": "mean", "title": title, "format": ".4~g"}, {"field": "seeds", "title": "seeds"}, {"field": "stopped", "title": "whose training had ended"},
    ]  # fmt: skip
    colour["legend"] = dash["legend"] = {"symbolType": "stroke", "symbolSize": 300}
    shared: Spec = {"x": x, "color": colour}
    layers: list[Spec] = [
        {
            "mark": {"type": "line", "strokeWidth": 2, "clip": True},
            "encoding": shared | {"y": y | {"field": "mean"}, "strokeDash": dash},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0},
            "encoding": shared | {"y": y | {"field": "mean"}, "tooltip": tip},
        },
    ]
    if any(
        v["low"] is not None and v["low"] < v["high"] for v in values
    ):  # an empty layer would have no extent, and Vega would warn of it
        band = {"y": y | {"field": "low"}, "y2": {"field": "high"}}
        known = [{"filter": "datum.low !== null"}]
        layers.insert(
            0,
            {
                "transform": known,
                "mark": {"type": "area", "opacity": 0.18, "clip": True},
                "encoding": shared | band,
            },
        )
    return {"data": {"values": values}, "width": 340, "height": 190, "layer": layers}


def phase_figure(table: pd.DataFrame) -> Spec | None:
    """Heat maps of hard error over k and sigma_star, a panel each for coarse and fine labels."""
    found = phase(table)
    setting, part = shown_phase(found, table)
    part = part[part["error"].notna()]
    if not len(part):
        return None
    panels = []
    for labels in ("coarse", "fine"):
        own = part[part["labels"] == labels].to_dict("records")
        values = [
            _error_record(row)
            | {"k": int(row["subclasses"]), "sigma_star": float(row["sigma_star"])}
            for row in own
        ]
        if values:
            panels.append({"title": f"{labels} labels"} | _phase_panel(values))
    subtitle = (
        "hard test samples told wrongly, %, over k and the strong noise σ* on one of their patches"
    )
    return {
        "title": _title(
            "Errors on hard samples, by number of subclasses and noise", subtitle, setting
        ),
        "hconcat": panels,
        "spacing": 40,
    }


def _phase_panel(values: list[dict[str, Any]]) -> Spec:
    x = {
        "field": "k",
        "type": "ordinal",
        "axis": {"title": "subclasses of each superclass, k", "labelAngle": 0, "grid": False},
    }
    y = {
        "field": "sigma_star",
        "type": "ordinal",
        "sort": "descending",
        "axis": {"title": "strong noise σ*", "grid": False},
    }
    tip = [
        {"field": "k", "title": "k"}, {"field": "sigma_star", "title": "σ*"}, {"field": "error", "title": "told "
        "wrongly, %", "format": ".2f"},
        {"field": "spread", "title": "95 %"}, {"field": "seeds", "title": "seeds"},
    ]  # fmt: skip
    scale = {"domain": [0, 100], "scheme": "cividis"}
    legend = {
        "title": "told wrongly, %",
        "orient": "right",
        "gradientLength": 140,
        "direction": "vertical",
    }
    ink = {"condition": {"test": "datum.error > 60", "value": "#1F2933"}, "value": "#FFFFFF"}
    return {
        "data": {"values": values},
        "width": {"step": 46},
        "height": {"step": 32},
        "encoding": {"x": x, "y": y},
        "layer": [
            {
                "mark": "rect",
                "encoding": {
                    "color": {
                        "field": "error",
                        "type": "quantitative",
                        "scale": scale,
                        "legend": legend,
                    },
                    "tooltip": tip,
                },
            },
            {
                "mark": {"type": "text", "fontSize": 11},
                "encoding": {
                    "text": {"field": "error", "type": "quantitative", "format": ".0f"},
                    "color": ink,
                },
            },
        ],
    }


_SERIES = {
    MAIN: (BLUE, "circle"),
    "random": (ORANGE, "square"),
    "random within coarse": (PURPLE, "diamond"),
    "shuffle": (GREEN, "triangle-up"),
}


def label_figure(table: pd.DataFrame) -> Spec | None:
    """Error against the number of labels, hard and easy test samples side by side; labels that
    ignore the subclasses are series of their own.
    """
    shapes = curve_shape(table)
    where, chosen = shown_curve(shapes[shapes["shape"] != TOO_FEW], table)
    if not len(chosen):
        return None
    found = curve(table)
    found = found[(found["read_out"] == chosen["read_out"].iloc[0]) & found["error"].notna()]
    found = at_setting(found, where)
    values = [
        _error_record(row)
        | {
            "series": row["series"],
            "labels": row["labels"],
            "k": row["num_labels"],
            "x": row["num_labels"],
            "aligned": bool(row["aligned"]),
        }
        for row in found.to_dict("records")
    ]
    style = {
        name: look for name, look in _SERIES.items() if any(v["series"] == name for v in values)
    }
    numbers = (min(v["k"] for v in values), max(v["k"] for v in values))
    x = _k_axis(values, "number of labels (log scale)")
    x["axis"] = {
        "title": "number of labels (log scale)",
        "tickCount": 6,
        "format": "~s",
        "grid": False,
    }
    x["scale"] |= {"domain": [numbers[0] / 1.5, numbers[1] * 1.5], "base": 10}
    panels = [
        {"title": f"{samples} test samples"}
        | _label_panel(
            [v for v in values if v["samples"] == samples], x, style, 2 * int(where["subclasses"])
        )
        for samples in ("hard", "easy")
        if any(v["samples"] == samples for v in values)
    ]
    title = _title(
        "Error against the number of labels in training",
        f"read-out {chosen['read_out'].iloc[0]}; dashed: the number of subclasses",
        where,
    )
    return {"title": title, "hconcat": panels, "spacing": 40}


def _label_panel(
    values: list[dict[str, Any]], x: Spec, style: dict[str, tuple[str, str]], subclasses: int
) -> Spec:
    panel = _error_panel(values, x, style)
    rule: Spec = {
        "data": {"values": [{"x": subclasses}]},
        "mark": {"type": "rule", "strokeDash": [3, 3], "color": GREY},
        "encoding": {"x": x, "tooltip": {"value": f"{subclasses} subclasses in all"}},
    }
    points = panel["layer"][-1]["encoding"]
    points["tooltip"] = [
        {"field": "labels", "title": "labels"},
        {"field": "x", "title": "number"},
        *points["tooltip"][2:],
    ]
    for layer in panel["layer"][1:2]:
        layer["encoding"]["order"] = {"field": "x"}
    panel["layer"].insert(0, rule)
    return panel


def ratio_figure(table: pd.DataFrame) -> Spec | None:
    """Ratio of fine to common response under coarse labels against k, both in logs, with 1/k and
    the fitted line.
    """
    points, fits = response_ratio(table), response_exponent(table)
    fits = fits[fits["exponent"].notna()]
    if not len(fits):
        return None
    setting, part = shown_ratio(fits, table)
    points = at_setting(points, setting)
    shown = points[points["ratio"] > 0]
    floor = min(shown["ratio"].min(), 1 / shown["subclasses"].max()) / 2
    values = [
        {
            "k": int(row["subclasses"]),
            "x": int(row["subclasses"]),
            "mean": row["ratio"],
            "seeds": int(row["num_seeds"]),
        }
        | {"not positive": int(row["num_not_positive"])}
        | {
            "low": None if missing(row["low"]) else max(floor, row["low"]),
            "high": None if missing(row["low"]) else row["high"],
        }
        for row in shown.to_dict("records")
    ]
    lines = [{"line": "1 / k", "x": v["k"], "mean": 1 / v["k"]} for v in values]
    for fit in part.to_dict("records"):
        name = f"fit from k = {fit['from_k']}: {fit['factor']:.2g} / k^{fit['exponent']:.2f}"
        lines += [
            {"line": name, "x": k, "mean": fit["factor"] * k ** -fit["exponent"]}
            for k in (fit["from_k"], fit["to_k"])
        ]
    left_out = len(points) - len(shown)
    note = f"; {left_out} means of 0 or less have no place on a log scale" if left_out else ""
    title = _title(
        "Under coarse labels: fine features against common ones",
        f"response to fine features over that to common ones, own class{note}",
        setting,
    )
    return {"title": title} | _ratio_panel(values, lines)


def _ratio_panel(values: list[dict[str, Any]], lines: list[dict[str, Any]]) -> Spec:
    x = _k_axis(values)
    ticks = [step * 10.0**power for power in range(-6, 2) for step in (1, 2, 5)]
    axis = {
        "title": "fine / common (log scale)",
        "values": ticks,
        "format": "~g",
        "labelOverlap": True,
    }
    y: Spec = {"type": "quantitative", "scale": {"type": "log", "nice": False}, "axis": axis}
    names = list(dict.fromkeys(line["line"] for line in lines))
    dashes = [[2, 3], [1, 0], [8, 3]]
    colour: Spec = {
        "field": "line",
        "type": "nominal",
        "title": None,
        "scale": {"domain": names, "range": [GREY, VERMILLION, ORANGE][: len(names)]},
    }
    dash: Spec = {
        "field": "line",
        "type": "nominal",
        "title": None,
        "scale": {"domain": names, "range": dashes[: len(names)]},
    }
    tip = [
        {"field": "k", "title": "k"}, {"field": "mean", "title": "ratio", "format": ".4~g"}, {"field": "low", "title": "95 % from", "format": ".4~g"},
        {"field": "high", "title": "to", "format": ".4~g"}, {"field": "seeds", "title": "seeds"}, {"field": "not positive", "title": "seeds of 0 or less"},
    ]  # fmt: skip
    legend = {
        "legend": {"columns": 1, "labelLimit": 260, "symbolType": "stroke", "symbolSize": 300}
    }
    bars = {
        "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.5, "color": BLUE},
        "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}},
    }
    known = (
        [bars | {"transform": [{"filter": "datum.low !== null"}]}]
        if any(v["low"] is not None for v in values)
        else []
    )
    return {
        "data": {"values": values}, "width": 340, "height": 260,
        "layer": [
            {"data": {"values": lines}, "mark": {"type": "line", "strokeWidth": 1.8, "clip": True},
             "encoding": {"x": x, "y": y | {"field": "mean"}, "color": colour | legend, "strokeDash": dash | legend}},
            *known,
            {"mark": {"type": "point", "filled": True, "size": 60, "color": BLUE, "opacity": 1},
             "encoding": {"x": x, "y": y | {"field": "mean"}, "tooltip": tip}},
        ],
    }  # fmt: skip


def dependence_figure(table: pd.DataFrame) -> Spec | None:
    """The k of the transition against each constant that varies while the others stay, a panel
    each.
    """
    found = dependence(table)
    found = found[found["usual"]] if len(found) and found["usual"].any() else found
    records = {
        int(at): record
        for at, row in zip(found.index, found.to_dict("records"), strict=True)
        if (record := _dependence_record(row)) is not None
    }
    style = {
        kind: look
        for kind, look in _KINDS.items()
        if any(record["kind"] == kind for record in records.values())
    }
    panels = []
    for (constant, others), part in found.groupby(["constant", "others"], sort=False):
        values = [records[at] for at in part.index if at in records]
        apart = others and not part["usual"].all()
        heading = {
            "text": _SYMBOLS.get(str(constant), str(constant)),
            "subtitle": textwrap.wrap(f"at {others}", 44) if apart else [],
        }
        if values:
            panels.append({"title": heading} | _dependence_panel(values, str(constant), style))
    if not panels:
        return None
    title = "The number of subclasses at which coarse labels fail, by each constant"
    shown = (
        "k at which the hard error crosses one half; bars: 95 % over seeds, and the gap between "
        "the measured k; triangles: beyond the k tried"
    )
    lines = [shown]
    if found["usual"].all():
        bases = found.drop_duplicates("constant").set_index("constant")["base"].to_dict()
        lines += textwrap.wrap(
            "in each panel all else at "
            f"{setting_words({str(name): value for name, value in bases.items()})}",
            130,
        )
    return {
        "title": _title(title, shown, {}) | {"subtitle": lines},
        "concat": panels,
        "columns": 3,
        "spacing": 36,
    }


def _dependence_record(row: dict[Any, Any]) -> dict[str, Any] | None:
    """What is drawn of a line: its mean, or where some seeds do not cross their median, or the end
    of what was tried; None where even that is not known.
    """
    told = {
        "value": constant_word(row["constant"], row["value"]).rpartition(" = ")[2],
        "seeds": int(row["num_seeds"]),
        "crossing": int(row["num_crosses"]),
    }
    bars = {
        name: None if missing(row[name]) else float(row[name])
        for name in ("low", "high", "below", "above")
    }
    if row["answer"] == CROSSES:
        return told | bars | {"at": float(row["transition"]), "kind": "crosses"}
    bars |= {"below": None, "above": None}
    if not missing(row["median"]):
        return told | bars | {"at": float(row["median"]), "kind": "some seeds only: median"}
    if row["num_never"] >= row["num_already"]:
        end = row["below"]
        return None if missing(end) else told | bars | {"at": float(end), "kind": "never"}
    return (
        None
        if missing(row["above"])
        else told | bars | {"at": float(row["above"]), "kind": "already"}
    )


_KINDS = {
    "crosses": (BLUE, "circle"),
    "some seeds only: median": (PURPLE, "diamond"),
    NEVER: (ORANGE, "triangle-up"),
    "already": (VERMILLION, "triangle-down"),
}


def _dependence_panel(
    values: list[dict[str, Any]], constant: str, style: dict[str, tuple[str, str]]
) -> Spec:
    x = {
        "field": "value",
        "type": "ordinal",
        "sort": [v["value"] for v in values],
        "axis": {"title": constant, "labelAngle": 0, "grid": False},
    }
    y: Spec = {
        "type": "quantitative",
        "scale": {"type": "log", "base": 2, "nice": False, "padding": 14},
        "axis": {"title": "k (log scale)", "tickCount": 5},
    }
    tip = [
        {"field": "value", "title": constant}, {"field": "at", "title": "k", "format": ".3~g"}, {"field": "kind", "title": "one half"},
        {"field": "low", "title": "95 % from", "format": ".3~g"}, {"field": "high", "title": "to", "format": ".3~g"},
        {"field": "below", "title": "measured below", "format": "~g"}, {"field": "above", "title": "and above", "format": "~g"},
        {"field": "crossing", "title": "seeds that cross"}, {"field": "seeds", "title": "of"},
    ]  # fmt: skip
    colour: Spec = {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(style), "range": [c for c, _ in style.values()]},
    }
    shape: Spec = {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(style), "range": [s for _, s in style.values()]},
    }
    layers: list[Spec] = []
    for ends, stroke in ((("below", "above"), 1.0), (("low", "high"), 3.5)):
        if any(v[ends[0]] is not None for v in values):
            known = [{"filter": f"datum.{ends[0]} !== null"}]
            rule = {"type": "rule", "strokeWidth": stroke, "opacity": 0.6, "color": BLUE}
            layers.append(
                {
                    "transform": known,
                    "mark": rule,
                    "encoding": {"x": x, "y": y | {"field": ends[0]}, "y2": {"field": ends[1]}},
                }
            )
    point = {"x": x, "y": y | {"field": "at"}, "color": colour, "shape": shape, "tooltip": tip}
    layers.append(
        {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": point}
    )
    return {"data": {"values": values}, "width": 215, "height": 180, "layer": layers}
