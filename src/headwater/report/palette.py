"""One colour per method and label view, the same in every chart; from the palette of Okabe and Ito,
which the colour-blind can tell apart.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

from headwater.analysis.order import Shown, shown_labels, shown_method
from headwater.analysis.words import missing

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#8C8C8C"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY)
"""For what is neither a method nor a label view: sources, curves."""


def arm_word(method: Any, labels: Any) -> str:
    """What a colour stands for: the labels of a supervised arm, else the method."""
    return str(labels) if _has_labels(method, labels) else str(method)


def _has_labels(method: Any, labels: Any) -> bool:
    return str(method) == "supervised" and not missing(labels)


def arm_colours(summary: Any) -> dict[str, str]:
    """Word of `arm_word` -> colour, in the order of the arms.

    Hierarchy levels share a ramp: coarse is light blue, fine is dark blue.
    """
    columns = ["method", "labels", "label_kind"]
    arms = summary.sort_values("order")[columns].drop_duplicates()
    shown: dict[str, Shown] = {}
    for method, labels, kind in arms.itertuples(index=False):
        shown.setdefault(arm_word(method, labels), _shown(method, labels, kind))
    levels = [word for word in shown if shown[word].on_ramp]
    spare = cycle(SERIES)
    return {
        word: _on_ramp(levels.index(word), len(levels))
        if shown[word].on_ramp
        else shown[word].colour or next(spare)
        for word in shown
    }


def _shown(method: Any, labels: Any, kind: Any) -> Shown:
    """Labels are shown as their kind is, whatever the study calls them."""
    if _has_labels(method, labels):
        return shown_labels(None if missing(kind) else str(kind))
    return shown_method(str(method))


def _on_ramp(place: int, length: int) -> str:
    return BLUE if length < 2 else _mix(SKY, BLUE, place / (length - 1))


def _mix(light: str, dark: str, share: float) -> str:
    """The colour at a share of the way from light to dark."""
    channels = []
    for start in (1, 3, 5):
        first, last = int(light[start : start + 2], 16), int(dark[start : start + 2], 16)
        channels.append(f"{round(first + (last - first) * share):02X}")
    return "#" + "".join(channels)
