"""All arms of a report as a table: what the verdict says of each, or why it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headwater.analysis.words import money_word
from headwater.report.palette import GREY, arm_colours, arm_word

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis import Decision


@dataclass(frozen=True)
class ArmLine:
    """An arm in words; '' is what is not known."""

    name: str
    anchor: str
    """The id of its line in the page."""
    colour: str
    mean: str
    """Of the verdict's setting, in percent."""
    behind: str
    """The leader, in points."""
    interval: str
    chance: str
    """That it is the best, in percent."""
    price: str
    said: str


def colours_by_name(summary: pd.DataFrame) -> dict[str, str]:
    """Name of an arm -> its colour in every chart."""
    colours = arm_colours(summary)
    arms = summary.drop_duplicates("name")
    named = zip(arms["name"], arms["method"], arms["labels"], strict=True)
    return {str(name): colours[arm_word(method, labels)] for name, method, labels in named}


def arm_lines(
    decision: Decision, colours: Mapping[str, str], anchors: Mapping[str, str]
) -> list[ArmLine]:
    """Every arm of `anchors` (name -> id): by falling mean, then those without one."""
    ranked = [name for name in decision.means if name in anchors]
    others = [name for name in anchors if name not in decision.means]
    return [
        _line(name, decision, colours.get(name, GREY), anchors[name]) for name in [*ranked, *others]
    ]


def _line(name: str, decision: Decision, colour: str, anchor: str) -> ArmLine:
    lead, low, high = decision.behind.get(name, (None, None, None))
    apart = name != decision.best and low is not None and high is not None
    cost, chance = decision.costs.get(name), decision.p_best.get(name)
    return ArmLine(
        name=name,
        anchor=anchor,
        colour=colour,
        mean=_percent(decision.means.get(name)),
        behind=_percent(lead),
        interval=f"{_percent(low)} to {_percent(high)}" if apart else "",
        chance="" if chance is None else f"{100 * chance:.0f}",
        price="" if cost is None else money_word(cost).replace(",", ""),
        said=_said(name, decision),
    )


def _percent(share: float | None) -> str:
    text = "" if share is None else f"{100 * share:.1f}"
    return "0.0" if text == "-0.0" else text


def _said(name: str, decision: Decision) -> str:
    if name in decision.left_out:
        return f"not in the verdict: {decision.left_out[name]}"
    if name not in decision.means:
        return "not in the verdict: not measured in its setting"
    words = []
    if name == decision.best:
        words.append("leads")
    elif name in decision.shortlist:
        words.append("could be the best")
    elif decision.shortlist:
        words.append("cannot be the best")
    if name in decision.as_good and name != decision.best:
        words.append("as good in practice")
    if name in decision.stopped_early:
        words.append("stopped early: its mean is no estimate")
    return ", ".join(words)
