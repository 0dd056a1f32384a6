"""The charts of the report as image files, with no browser: vl-convert draws them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import plain
from headwater.analysis.order import tuned_protocols
from headwater.errors import InputError
from headwater.files import make_folder
from headwater.report.charts import Panel, charts, panels
from headwater.report.charts.theme import on_white

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis.questions import Chart

FORMATS = ("svg", "png", "pdf")
VEGA_LITE = "6.1"
"""The Vega-Lite version that specifications are read as; the same in the report and the figures."""


def figure(
    rows: pd.DataFrame,
    kind: str,
    *,
    protocol: str | None = None,
    shots: int | str | None = None,
    tasks: Sequence[str] | None = None,
) -> dict[str, Any]:
    """One Vega-Lite specification with the chosen panels side by side, titled, on a white ground.

    kind is one of `charts.charts()`. None takes fine-tuning (or the first protocol), the largest
    shot count ("all" is the full split), every task. Raises InputError for an unknown kind or where
    the rows have no such chart.
    """
    kinds = charts()
    if kind not in kinds:
        raise InputError(f"{kind!r} is no kind of figure; there are {', '.join(kinds)}")
    members = [
        panel
        for panel in panels(rows)
        if panel.kind == kind and (tasks is None or panel.task in tasks)
    ]
    protocol = protocol or _usual_protocol(members)
    members = [panel for panel in members if panel.protocol == protocol]
    members = _of_shots(members, None if shots is None else str(shots))
    if not members:
        raise InputError(
            f"the rows have no {kind} chart for protocol {protocol}, shots {shots}, tasks "
            f"{tasks or 'any'}"
        )
    return _compose(kinds[kind], members)


def _usual_protocol(members: list[Panel]) -> str | None:
    protocols = [panel.protocol for panel in members]
    tuned = [name for name in tuned_protocols() if name in protocols]
    return next(iter([*tuned, *protocols]), None)


def _of_shots(members: list[Panel], shots: str | None) -> list[Panel]:
    counts = list(dict.fromkeys(panel.shots for panel in members))
    chosen = shots if shots in counts else next(reversed(counts), None)
    return [panel for panel in members if panel.shots == chosen]


def save_figures(
    rows: pd.DataFrame, folder: str | Path, *, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Every chart kind that the rows allow, one file per kind x protocol x shots x format, named
    for instance accuracy-probe-5.svg.

    Makes `folder`; returns the paths that were written. Raises InputError for an unknown format.
    """
    unknown = [suffix for suffix in formats if suffix not in FORMATS]
    if unknown:
        raise InputError(f"{unknown[0]!r} is no format of figures; there are {', '.join(FORMATS)}")
    folder = Path(folder)
    make_folder(folder)
    groups: dict[tuple[str, str, str | None], list[Panel]] = {}
    for panel in panels(rows):
        groups.setdefault((panel.kind, panel.protocol, panel.shots), []).append(panel)
    kinds = charts()
    written = []
    for (kind, protocol, shots), members in groups.items():
        name = "-".join(_file_word(word) for word in (kind, protocol, shots) if word)
        for suffix in formats:
            path = folder / f"{name}.{suffix}"
            path.write_bytes(draw(_compose(kinds[kind], members), suffix))
            written.append(path)
    return written


def _file_word(word: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in word)


def draw(spec: dict[str, Any], suffix: str, *, scale: float = 2.0) -> bytes:
    """The bytes of a specification as svg, png (at `scale` pixels per unit) or pdf."""
    import vl_convert

    # A control character ends vl-convert, and the process with it.
    text = json.dumps(plain.cleaned(spec))
    if suffix == "svg":
        return vl_convert.vegalite_to_svg(text, vl_version=VEGA_LITE).encode()
    if suffix == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(text, vl_version=VEGA_LITE))
    return bytes(vl_convert.vegalite_to_png(text, vl_version=VEGA_LITE, scale=scale))


def _compose(chart: Chart, members: list[Panel]) -> dict[str, Any]:
    """Panels of one protocol and shot count side by side."""
    subtitle = f"{members[0].protocol}{members[0].with_images}; mean and 95 % interval over seeds"
    scales = dict.fromkeys(chart.own_scales, "independent")
    return on_white(
        {
            "title": {"text": chart.title, "subtitle": subtitle, "fontSize": 16, "offset": 14},
            "concat": [_without_schema(panel) for panel in members],
            "columns": 2 if len(members) == 4 else min(len(members), 3),
            "spacing": 28,
            "resolve": {"scale": scales, "legend": scales} if scales else {},
        }
    )


def _without_schema(panel: Panel) -> dict[str, Any]:
    spec = {field: value for field, value in panel.spec.items() if field != "$schema"}
    return spec | {"width": 260, "title": panel.title}
