"""One colour per method and label view, the same in every chart; from the palette of Okabe and Ito,
which the colour-blind can tell apart.
"""

from __future__ import annotations

from typing import Any

from headwater.analysis.order import label_kind

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

_METHODS = {"clip": VERMILLION, "simclr": PURPLE, "scratch": GREY, "given": GREEN}
_KINDS = {
    "instance": GREEN, "cluster within": "#332288", "cluster": "#7A6A00", "shuffle": "#B8860B", "random within": "#F3B95F", "random": ORANGE,
    "noisy": "#882255",
}  # fmt: skip


def arm_word(method: Any, labels: Any) -> str:
    """What a colour stands for: the labels of a supervised arm, else the method."""
    return str(labels) if str(method) == "supervised" and label_kind(labels) else str(method)


def arm_colours(summary: Any) -> dict[str, str]:
    """Word of `arm_word` -> colour, in the order of the arms.

    Hierarchy levels share a ramp: coarse is light blue, fine is dark blue.
    """
    arms = summary.sort_values("order")[["method", "labels"]].drop_duplicates()
    words = dict.fromkeys(
        arm_word(m, v) for m, v in zip(arms["method"], arms["labels"], strict=True)
    )
    levels = [w for w in words if label_kind(w) in ("level", "depth", "rank")]
    spare = iter(SERIES * (len(words) // len(SERIES) + 1))
    out = {}
    for word in words:
        if word in levels:
            out[word] = (
                _mix(SKY, BLUE, levels.index(word) / max(1, len(levels) - 1))
                if len(levels) > 1
                else BLUE
            )
        else:
            out[word] = _METHODS.get(word) or _KINDS.get(label_kind(word)) or next(spare)
    return out


def _mix(light: str, dark: str, share: float) -> str:
    parts = [(int(light[i : i + 2], 16), int(dark[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in parts)
