"""One colour per method and label view, the same in every chart, and no two with the same one as
long as there are some; from the palette of Okabe and Ito, which the colour-blind can tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator
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
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""For methods and label views that declare no colour, or one that another has taken."""

_TONES = 400
"""Of the palette; later ones are those before them again, rounded."""


def arm_word(method: Any, labels: Any) -> str:
    """What a colour stands for: the labels of a supervised arm, else the method."""
    return str(labels) if _has_labels(method, labels) else str(method)


def _has_labels(method: Any, labels: Any) -> bool:
    return str(method) == "supervised" and not missing(labels)


def arm_colours(summary: Any) -> dict[str, str]:
    """Word of `arm_word` -> colour, in the order of the arms.

    Hierarchy levels share a ramp: coarse is light blue, fine is dark blue. Where two would have one
    colour, the later one gets another: a colour means one thing, as long as there are tones that
    differ, which is some hundreds; then they are given again.
    """
    columns = ["method", "labels", "label_kind"]
    arms = summary.sort_values("order")[columns].drop_duplicates()
    shown: dict[str, Shown] = {}
    for method, labels, kind in arms.itertuples(index=False):
        shown.setdefault(arm_word(method, labels), _shown(method, labels, kind))
    levels = [word for word in shown if shown[word].on_ramp]
    chosen = {word: _on_ramp(place, len(levels)) for place, word in enumerate(levels)}
    taken = set(chosen.values())
    free = _free(taken)
    for word in shown:
        if word not in chosen:
            wanted = shown[word].colour
            chosen[word] = wanted if wanted and wanted not in taken else next(free)
            taken.add(chosen[word])
    return {word: chosen[word] for word in shown}


def _free(taken: set[str]) -> Iterator[str]:
    """Colours that nobody has when they are asked for; the palette again where there are none."""
    for colour in _spare():
        if colour not in taken:
            yield colour
    yield from cycle(SERIES)


def _spare() -> Iterator[str]:
    """The palette, then ever new tones of it, as long as they differ."""
    yield from SERIES
    for number in range(1, _TONES):
        share = 0.6 / (1 + number // 2)
        towards = BLACK if number % 2 else "#D9D9D9"
        for colour in SERIES:
            yield _mix(colour, towards, share)


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
