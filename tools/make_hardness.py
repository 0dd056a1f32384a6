"""Rebuilds docs/hardness.md and its figure from the committed answers.

    python tools/make_hardness.py

The answers (which test samples each model got right) and the rows are what `headwater run
studies/hong2023/hardness.yaml` left behind, exported with

    headwater hardness studies/hong2023/hardness.yaml \\
        --answers docs/results/hardness_answers.parquet
    headwater rows studies/hong2023/hardness.yaml --out docs/results/hardness.parquet

A test checks that the page holds what this script writes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.analysis import read_answers
from headwater.report import hardness_chart, hardness_settings
from headwater.report.figures import draw
from headwater.rows import read_rows

ROOT = Path(__file__).parents[1]
ANSWERS = ROOT / "docs" / "results" / "hardness_answers.parquet"
ROWS = ROOT / "docs" / "results" / "hardness.parquet"
PAGE = ROOT / "docs" / "hardness.md"
FIGURE = ROOT / "docs" / "hardness.png"
SHARE = 0.25
"""The other split that is shown: this share of the test set by rank."""


def points(interval: dict[str, Any], *, bold: bool = True) -> str:
    """A gain in points with its interval, bold where it excludes 0."""
    if interval["gain"] is None:
        return "\u2013"
    if interval["low"] is None:
        return f"{100 * interval['gain']:+.1f}"
    text = (
        f"{100 * interval['gain']:+.1f} ({100 * interval['low']:+.1f} to "
        f"{100 * interval['high']:+.1f})"
    )
    return f"**{text}**" if bold and (interval["low"] > 0 or interval["high"] < 0) else text


def percent(value: float | None) -> str:
    return "\u2013" if value is None else f"{100 * value:.0f} %"


def lines(head: list[str], body: list[list[str]]) -> str:
    return (
        "\n".join(
            [
                "| " + " | ".join(head) + " |",
                "|---|" + "---:|" * (len(head) - 1),
                *("| " + " | ".join(row) + " |" for row in body),
            ]
        )
        + "\n"
    )


def gains_table(settings: list[dict[str, Any]], split: str, *, bold: bool = True) -> str:
    """A line for each task under one split, with what it says; * where the difference still
    excludes 0 corrected for all tasks of the table.
    """
    body = []
    for setting in settings:
        splits = [gain for gain in setting["splits"] if gain["split"] == split]
        for gain in splits:
            star = "*" if bold and gain["survives"] else ""
            hard = f"{percent(gain['hard_samples'] / setting['samples'])} of {setting['samples']:,}"
            right = f"{percent(gain['coarse_on_hard'])}, {percent(gain['coarse_on_easy'])}"
            numbers = [points(gain[part], bold=bold) for part in ("hard", "easy", "extra", "all")]
            numbers[2] += star
            body.append([name(setting), hard, right, *numbers, *([gain["answer"]] if bold else [])])
    head = [
        "task",
        "hard samples",
        "coarse arm right on hard, easy",
        "gain on hard",
        "gain on easy",
        "hard \u2212 easy",
        "gain on all",
    ]
    return lines([*head, *(["answer"] if bold else [])], body)


def name(setting: dict[str, Any]) -> str:
    return f"{setting['task']}: {setting['fine_classes']} over {setting['coarse_classes']} classes"


def bins_table(settings: list[dict[str, Any]]) -> str:
    """Gain against hardness, and the samples of each bin."""
    order = {
        one_bin["order"]: one_bin["bin"] for setting in settings for one_bin in setting["bins"]
    }
    body = []
    for setting in settings:
        bin_at = {one_bin["order"]: one_bin for one_bin in setting["bins"]}
        body.append(
            [
                name(setting),
                *[
                    f"{points(bin_at[place])}, {bin_at[place]['samples']:,.0f}"
                    if place in bin_at
                    else "\u2013"
                    for place in sorted(order)
                ],
            ]
        )
    return lines(["task", *[f"{order[place]} %" for place in sorted(order)]], body)


def block(answers: pd.DataFrame) -> str:
    settings = hardness_settings(answers)
    seeds = answers.groupby("source")["seed"].nunique()
    by_rank = hardness_settings(answers, hard_share=SHARE)
    middle = [
        s
        for s in hardness_settings(answers, coarse="level:2", fine="level:1")
        if s["coarse_classes"] == _classes(answers, s["task"])
    ]
    seed_counts = ", ".join(f"{count} seeds of {source}" for source, count in seeds.items())
    auc = [
        f"{setting['task']} {setting['auc']:.2f}"
        for setting in settings
        if setting["auc"] is not None
    ]
    return "\n".join(
        [
            f"{answers[['task', 'labels', 'seed']].drop_duplicates().shape[0]} fine-tuned models: "
            f"{seed_counts}.\n",
            "**Split by models of both arms with other seeds** (cross-fitted: neither arm is "
            "favoured), the finest labels over the task's own:\n",
            gains_table(settings, "cross-fitted"),
            "**Gain against hardness** (the share of the other seeds' models that are wrong), with "
            "the number of samples:\n",
            bins_table(settings),
            "**Where the data mark hard samples**, split by the mark:\n",
            gains_table(settings, "given"),
            f"How well hardness tells the mark (AUC, 0.5 is chance): {', '.join(auc)}.\n",
            f"**The hardest {100 * SHARE:g} % by rank** in place of the threshold, cross-fitted:\n",
            gains_table(by_rank, "cross-fitted"),
            "**The middle level over the coarsest**, on the tasks that have the coarsest level, "
            "cross-fitted:\n",
            gains_table(middle, "cross-fitted"),
            "**BIASED: split by the coarse arm's errors at other seeds.** It looks for samples "
            "that the coarse arm is bad at; not to be read as an answer:\n",
            gains_table(settings, "coarse arm", bold=False),
            "**BIASED: split by the errors of the very coarse model that is compared.** On hard "
            "samples that model is wrong by definition:\n",
            gains_table(settings, "same model", bold=False),
        ]
    )


def _classes(answers: pd.DataFrame, task: str) -> int:
    """Classes of a task: those of the arm that was trained on them."""
    return int(answers.loc[(answers["task"] == task) & answers["target"], "num_labels"].iloc[0])


def figure(answers: pd.DataFrame) -> dict[str, Any]:
    return hardness_chart(
        {
            "study": "photos and the generated world",
            "hard_share": None,
            "settings": hardness_settings(answers),
        }
    )


def with_block(page: str, answers: pd.DataFrame) -> str:
    """The page with what stands between its marks made anew."""
    made = block(answers)
    return re.sub(
        r"(<!-- hardness -->\n).*?(<!-- /hardness -->)",
        lambda m: m[1] + made + m[2],
        page,
        flags=re.DOTALL,
    )


def checked(answers: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The answers; SystemExit where their share of right ones is not the accuracy that the rows
    state.
    """
    stated = (
        rows[(rows["metric"] == "top1") & (rows["subset"] == "all")]
        .set_index(["task", "labels", "seed"])["value"]
        .astype(float)
        .sort_index()
    )
    counted = answers.groupby(["task", "labels", "seed"])["right"].mean().astype(float).sort_index()
    if list(stated.index) != list(counted.index) or (stated - counted).abs().max() > 1e-6:
        raise SystemExit("the answers are not those of the rows")
    return answers


if __name__ == "__main__":
    table = checked(read_answers(ANSWERS), read_rows(ROWS))
    PAGE.write_text(with_block(PAGE.read_text(), table))
    FIGURE.write_bytes(draw(figure(table), "png"))
    print(f"wrote {PAGE.name} and {FIGURE.name}")
