"""One colour per method and label view, the same in every chart; from the palette of Okabe and Ito,
which the colour-blind can tell apart.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

from headwater.analysis.order import Shown, label_kind, shown_labels, shown_method

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
    return str(labels) if str(method) == "supervised" and label_kind(labels) else str(method)


def arm_colours(summary: Any) -> dict[str, str]:
    """Word of `arm_word` -> colour, in the order of the arms.

    Hierarchy levels share a ramp: coarse is light blue, fine is dark blue.
    """
    arms = summary.sort_values("order")[["method", "labels"]].drop_duplicates()
    names = [arm_word(*arm) for arm in zip(arms["method"], arms["labels"], strict=True)]
    shown = {word: _shown(word) for word in names}
    levels = [word for word in shown if shown[word].on_ramp]
    spare = cycle(SERIES)
    return {
        word: _on_ramp(levels.index(word), len(levels))
        if shown[word].on_ramp
        else shown[word].colour or next(spare)
        for word in shown
    }


def _shown(word: str) -> Shown:
    """A word of `arm_word` names a method or labels."""
    method = shown_method(word)
    return method if method.known else shown_labels(word)


def _on_ramp(place: int, length: int) -> str:
    return BLUE if length < 2 else _mix(SKY, BLUE, place / (length - 1))


def _mix(light: str, dark: str, share: float) -> str:
    """The colour at a share of the way from light to dark."""
    channels = []
    for start in (1, 3, 5):
        first, last = int(light[start : start + 2], 16), int(dark[start : start + 2], 16)
        channels.append(f"{round(first + (last - first) * share):02X}")
    return "#" + "".join(channels)
