"""The charts of the report as image files, with no browser: vl-convert draws them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.analysis.order import TUNED
from headwater.errors import InputError
from headwater.report.charts import SCHEMA, Panel, panels, theme

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("svg", "png", "pdf")
KINDS = {
    "accuracy": "Accuracy of each arm",
    "granularity": "Accuracy against the number of classes in pre-training",
    "gap": "How much the choice of source matters",
    "shots": "Accuracy against training images per class",
}
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

    kind is a key of `KINDS`. None takes the verdict's protocol (or the first one), the largest shot
    count ("all" is the full split), every task. Raises InputError for an unknown kind or where the
    rows have no such chart.
    """
    if kind not in KINDS:
        raise InputError(f"{kind!r} is no kind of figure; there are {', '.join(KINDS)}")
    return _compose(
        kind, _chosen(panels(rows), kind, protocol, None if shots is None else str(shots), tasks)
    )


def save_figures(
    rows: pd.DataFrame, folder: str | Path, *, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Every chart kind that the rows allow, one file per kind x protocol x shots x format, named
    for instance accuracy-probe-5.svg.

    Makes `folder`; returns the paths that were written. Raises InputError for an unknown format.
    """
    unknown = [f for f in formats if f not in FORMATS]
    if unknown:
        raise InputError(f"{unknown[0]!r} is no format of figures; there are {', '.join(FORMATS)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[tuple[str, str, str | None], list[Panel]] = {}
    for panel in panels(rows):
        groups.setdefault((panel.kind, panel.protocol, panel.shots), []).append(panel)
    written = []
    for (kind, protocol, shots), members in groups.items():
        name = "-".join(
            "".join(c if c.isalnum() else "_" for c in part)
            for part in (kind, protocol, shots)
            if part
        )
        for suffix in formats:
            path = folder / f"{name}.{suffix}"
            path.write_bytes(draw(_compose(kind, members), suffix))
            written.append(path)
    return written


def draw(spec: dict[str, Any], suffix: str, *, scale: float = 2.0) -> bytes:
    """The bytes of a specification as svg, png (at `scale` pixels per unit) or pdf."""
    import vl_convert

    if suffix == "svg":
        return vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=VEGA_LITE).encode()
    if suffix == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(json.dumps(spec), vl_version=VEGA_LITE))
    return bytes(vl_convert.vegalite_to_png(json.dumps(spec), vl_version=VEGA_LITE, scale=scale))


def _chosen(
    found: list[Panel],
    kind: str,
    protocol: str | None,
    shots: str | None,
    tasks: Sequence[str] | None,
) -> list[Panel]:
    members = [p for p in found if p.kind == kind and (tasks is None or p.task in tasks)]
    protocols = list(dict.fromkeys(p.protocol for p in members))
    if protocol is None:
        tuned = [name for name in TUNED if name in protocols]
        protocol = next(iter([*tuned, *protocols]), None)
    members = [p for p in members if p.protocol == protocol]
    counts = list(dict.fromkeys(p.shots for p in members))
    members = (
        [p for p in members if p.shots == (shots if shots in counts else counts[-1])]
        if members
        else []
    )
    if not members:
        raise InputError(
            f"the rows have no {kind} chart for protocol {protocol}, shots {shots}, tasks "
            f"{tasks or 'any'}"
        )
    return members


def _compose(kind: str, members: list[Panel]) -> dict[str, Any]:
    shots = members[0].shots
    count = (
        "" if shots is None else ", all images" if shots == "all" else f", {shots} images per class"
    )
    parts = [
        {k: v for k, v in p.spec.items() if k != "$schema"} | {"width": 260, "title": p.title}
        for p in members
    ]
    return {
        "$schema": SCHEMA,
        "title": {
            "text": KINDS[kind],
            "subtitle": f"{members[0].protocol}{count}; mean and 95 % interval over seeds",
            "fontSize": 16,
            "offset": 14,
        },
        "concat": parts,
        "columns": min(len(parts), 3 if len(parts) != 4 else 2),
        "spacing": 28,
        "resolve": {"scale": {"strokeDash": "independent"}, "legend": {"strokeDash": "independent"}}
        if kind == "granularity"
        else {},
        "padding": 16,
        "config": theme(dark=False)
        | {"background": "white", "font": "Helvetica, Arial, sans-serif"},
    }
