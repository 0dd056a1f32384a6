"""What a report shows when it is opened: the setting of its verdict, or one that was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headwater.analysis.words import listed, shots_place, shots_word, shots_words

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis import Decision

SUBSETS = ("all", "hard", "easy", "unleaked")


def opening(summary: pd.DataFrame, decision: Decision, main_metric: str) -> dict[str, Any]:
    """The first choice of each menu, and the order of each menu's words; plain values.

    `tasks` and `several` (shots) are those of the verdict; `several` is empty where it is one. The
    menus themselves offer what was measured (web/report.js), so a choice that was not is left.
    """
    shots = sorted({shots_word(each) for each in summary["shots"]}, key=shots_place)
    asked = [shots_word(None if each == -1 else each) for each in decision.shots]
    protocols = sorted(set(summary["protocol"].astype(str)))
    subsets = set(summary["subset"].astype(str))
    return {
        "protocol": decision.protocol or next(iter(protocols), ""),
        "shots": asked[-1] if asked else next(reversed(shots), ""),
        "several": asked if len(asked) > 1 else [],
        "tasks": [str(task) for task in decision.tasks],
        "metric": main_metric,
        "order": {
            "protocol": protocols,
            "shots": shots,
            "task": sorted(set(summary["task"].astype(str))),
            "metric": sorted(
                set(summary["metric"].astype(str)), key=lambda m: (m != main_metric, m)
            ),
            "subset": [word for word in SUBSETS if word in subsets]
            + sorted(subsets - set(SUBSETS)),
        },
    }


def setting_words(decision: Decision) -> str:
    """'Measured by finetune with all images on trashnet and eurosat.'; '' where nothing is."""
    if decision.protocol is None or not decision.tasks:
        return ""
    shown = f"Measured by {decision.protocol}"
    shown += f" with {shots_words(decision.shots)}" if decision.shots else ""
    return f"{shown} on {listed(list(decision.tasks))}."
