"""The verdict and the summary as plain text: for a terminal, a commit message, a README."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headwater.analysis.compare import summarise
from headwater.analysis.conclude import verdict
from headwater.analysis.configurations import main_metric, prepare
from headwater.analysis.words import missing, shots_place, shots_word

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis.decision import Aim
    from headwater.analysis.images import Answers


def verdict_lines(
    rows: pd.DataFrame, aim: Aim | None = None, *, answers: Answers | None = None
) -> list[str]:
    """The verdict, a line a sentence: the answer, the grounds, then what to run next."""
    advice = verdict(rows, aim, answers=answers)
    return [
        advice.answer,
        *(f"  {sentence}" for sentence in advice.sentences),
        "Next:",
        *(f"  - {step}" for step in advice.next_steps),
    ]


def markdown_table(
    rows: pd.DataFrame,
    *,
    metric: str | None = None,
    subset: str = "all",
    protocol: str | None = None,
    task: str | None = None,
    shots: int | str | None = None,
) -> str:
    """Configurations x (task, protocol, shots) in GitHub's Markdown: percent right, mean ±
    half-width of the 95 % interval over seeds.

    protocol, task and shots ("all" is the full split) narrow the columns. One seed has no ±. A
    dagger marks what decides nothing (label re-use, test sets that are copies); a dash is a cell
    that is missing, n! counts failed and diverged cells behind a number. The best of a column is
    bold, unless it decides nothing.
    """
    table = prepare(rows)
    summary = summarise(table)
    metric = metric or main_metric(table)
    keep = (summary["metric"] == metric) & (summary["subset"] == subset)
    summary = summary[keep].assign(shots=lambda chosen: chosen["shots"].map(shots_word))
    wanted = {"protocol": protocol, "task": task, "shots": None if shots is None else str(shots)}
    for column, value in wanted.items():
        if value is not None:
            summary = summary[summary[column] == value]
    if not len(summary):
        return "(no rows)\n"
    settings = _settings(summary)
    by_arm: dict[str, dict[tuple[str, str, str], dict[Any, Any]]] = {}
    for row in summary.to_dict("records"):
        setting = row["task"], row["protocol"], row["shots"]
        by_arm.setdefault(row["configuration"], {})[setting] = row
    best = {setting: _best(summary, setting) for setting in settings}
    headings = [_heading(setting, settings) for setting in settings]
    lines = [f"| arm | {' | '.join(headings)} |", "|---|" + "---:|" * len(settings)]
    arms = summary.sort_values("order")[["configuration", "name"]].drop_duplicates()
    for configuration, name in zip(arms["configuration"], arms["name"], strict=True):
        row_of = by_arm[configuration]
        cells = [_cell(row_of.get(setting), best[setting]) for setting in settings]
        lines.append(f"| {_escaped(str(name))} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _settings(summary: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The different (task, protocol, shots), by name, from few shots to many."""
    distinct = set(zip(summary["task"], summary["protocol"], summary["shots"], strict=True))
    return sorted(distinct, key=lambda setting: (*setting[:2], shots_place(setting[2])))


def _best(summary: pd.DataFrame, setting: tuple[str, str, str]) -> float | None:
    task, protocol, shots = setting
    here = summary[
        (summary["task"] == task)
        & (summary["protocol"] == protocol)
        & (summary["shots"] == shots)
        & summary["decides"]
    ]["mean"].dropna()
    return float(here.max()) if len(here) > 1 else None


def _heading(setting: tuple[str, str, str], settings: list[tuple[str, str, str]]) -> str:
    """Task, and protocol and shots where they differ between columns."""
    task, protocol, shots = setting
    heading = [_escaped(str(task))]
    if len({protocol for _, protocol, _ in settings}) > 1:
        heading.append(str(protocol))
    if len({shots for _, _, shots in settings}) > 1:
        heading.append("all images" if shots == "all" else f"{shots}-shot")
    return ", ".join(heading)


def _cell(row: dict[Any, Any] | None, top: float | None) -> str:
    if row is None:
        return "\u2013"
    bad = int(row["num_diverged"]) + int(row["num_failed"])
    marks = ("" if row["decides"] or missing(row["mean"]) else "\u2020") + (
        f" ({bad}!)" if bad else ""
    )
    if missing(row["mean"]):
        return "\u2013" + marks
    text = f"{100 * row['mean']:.1f}"
    if top is not None and row["decides"] and row["mean"] == top:
        text = f"**{text}**"
    half = "" if missing(row["low"]) else f" \u00b1 {50 * (row['high'] - row['low']):.1f}"
    return text + half + marks


def _escaped(text: str) -> str:
    for character in "\\|<>*_`[]":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ")
