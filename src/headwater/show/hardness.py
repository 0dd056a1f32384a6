"""What `headwater hardness` shows, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from headwater.analysis.hardness import HARD
from headwater.analysis.words import setting_word
from headwater.show.console import console, name_of

if TYPE_CHECKING:
    pass

from headwater.facts.hardness import again

_console = console(soft_wrap=True, highlight=False, width=140)


# text
def print_hardness(facts: dict[str, Any]) -> None:
    """A table for each setting, the cross-fitted split first, and what it says."""
    for setting in facts["settings"]:
        _print_setting(setting)
    hard = _what_is_hard(facts["hard_share"])
    _console.print(
        f"\n[bold]hard[/bold]: {hard}; easy: the rest. Gains are those of the seed that was left "
        "out."
    )
    _console.print(
        "[bold]biased[/bold]: a split by the coarse arm's errors finds samples on which that arm "
        "happens to be bad; it decides nothing."
    )
    _console.print(
        "[bold]interval[/bold]: 95 %, of what new seeds would find on these test images, split "
        "anew, each by itself; it says nothing of other images or labels."
    )
    for reason in facts["refused"]:
        _console.print(f"not compared: {reason}", markup=False)
    if facts["without_answers"]:
        without = (
            f"{facts['without_answers']} finished cells were measured before answers were kept, "
            "and are left out"
        )
        _console.print(f"note: {without}; {again(facts['study'])}", markup=False)
    for name in ("answers", "chart"):
        if name in facts:
            _console.print(f"{name}: {facts[name]}", markup=False)


def _what_is_hard(hard_share: float | None) -> str:
    if hard_share is not None:
        return (
            f"the {100 * hard_share:g} % of the test samples that the models of both arms with "
            "other seeds get wrong most"
        )
    return f"at least {100 * HARD:.0f} % of the models of both arms with other seeds are wrong"


def _print_setting(setting: dict[str, Any]) -> None:
    where = setting_word(setting["task"], setting["protocol"], setting["shots"])
    size = "" if setting["size"] is None else f", {setting['size']} images"
    compared = (
        f"{setting['fine']} ({setting['fine_classes']} classes) over {setting['coarse']} "
        f"({setting['coarse_classes']})"
    )
    _console.print(
        f"\n[bold]{name_of(str(setting['source']))}{size} on {name_of(where)}[/bold]: gain of "
        f"{name_of(compared)}, points"
    )
    table = Table("split", box=None, header_style="bold", pad_edge=False)
    for heading in ("hard samples", "on hard", "on easy", "hard \u2212 easy"):
        table.add_column(heading, justify="right")
    for split in setting["splits"]:
        share = f"{split['hard_samples']:,.0f} of {setting['samples']:,}"
        gains = [gain_word(split[samples]) for samples in ("hard", "easy", "extra")]
        table.add_row(split["meaning"], share, *gains)
    _console.print(table)
    _console.print(f"on all samples: {gain_word(setting['splits'][0]['all'])}", markup=False)
    if setting["auc"] is not None:
        _console.print(
            f"hardness tells the given mark with an AUC of {setting['auc']:.2f} (0.5 is chance)"
        )
    first = setting["splits"][0]
    corrected = (
        ""
        if first["num_comparisons"] == 1 or not first["survives"]
        else f", corrected for {first['num_comparisons']} settings too"
    )
    reused = (
        ""
        if setting["decides"]
        else "; labels are re-used by a frozen encoder: this decides nothing"
    )
    _console.print(
        f"answer: {setting['answer']}{corrected} ({first['num_seeds']} seeds){reused}", markup=False
    )


def gain_word(interval: dict[str, Any]) -> str:
    """A gain in points with its interval: '+1.2 (-0.3 to +2.7)'; a dash where there is none."""
    if interval["gain"] is None:
        return "\u2013"
    text = f"{100 * interval['gain']:+.1f}"
    return (
        text
        if interval["low"] is None
        else f"{text} ({100 * interval['low']:+.1f} to {100 * interval['high']:+.1f})"
    )
