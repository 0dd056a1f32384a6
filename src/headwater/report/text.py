"""The verdict and the summary as plain text: for a terminal, a commit message, a README."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headwater.analysis.compare import summarise
from headwater.analysis.configurations import main_metric, prepare
from headwater.analysis.decide import verdict
from headwater.analysis.words import missing, shots_word

if TYPE_CHECKING:
    import pandas as pd


def verdict_lines(rows: pd.DataFrame) -> list[str]:
    """The verdict, a line a sentence: the answer, the grounds, then what to run next."""
    found = verdict(rows)
    return [
        found.answer,
        *(f"  {sentence}" for sentence in found.sentences),
        "Next:",
        *(f"  - {step}" for step in found.next_steps),
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
    dagger marks label re-use, which decides nothing; a dash is a cell that is missing, n! counts
    failed and diverged cells behind a number. The best of a column is bold, unless it decides
    nothing.
    """
    table = prepare(rows)
    summary = summarise(table)
    metric = metric or main_metric(table)
    keep = (summary["metric"] == metric) & (summary["subset"] == subset)
    summary = summary[keep].assign(shots=lambda f: [shots_word(s) for s in f["shots"]])
    for column, wanted in (
        ("protocol", protocol),
        ("task", task),
        ("shots", None if shots is None else str(shots)),
    ):
        summary = summary if wanted is None else summary[summary[column] == wanted]
    if not len(summary):
        return "(no rows)\n"
    settings = list(
        dict.fromkeys(zip(summary["task"], summary["protocol"], summary["shots"], strict=True))
    )
    settings.sort(key=lambda s: (s[0], s[1], s[2] == "all", int(s[2]) if s[2] != "all" else 0))
    found = {
        (r["configuration"], r["task"], r["protocol"], r["shots"]): r
        for r in summary.to_dict("records")
    }
    top = {s: _best(summary, s) for s in settings}
    lines = [
        "| arm | " + " | ".join(_heading(s, settings) for s in settings) + " |",
        "|---|" + "---:|" * len(settings),
    ]
    arms = summary.sort_values("order")[["configuration", "name"]].drop_duplicates()
    for configuration, name in zip(arms["configuration"], arms["name"], strict=True):
        cells = [_cell(found.get((configuration, *s)), top[s]) for s in settings]
        lines.append(f"| {_escaped(str(name))} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


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
    words = [_escaped(str(task))]
    if len({s[1] for s in settings}) > 1:
        words.append(str(protocol))
    if len({s[2] for s in settings}) > 1:
        words.append("all images" if shots == "all" else f"{shots}-shot")
    return ", ".join(words)


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
