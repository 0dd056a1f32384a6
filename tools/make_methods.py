"""Rebuilds the results in docs/pretraining.md from the committed rows: python tools/make_methods.py

The rows are what `headwater run studies/methods.yaml` left behind, exported with

    headwater rows studies/methods.yaml --out docs/results/methods.parquet
    headwater curves studies/methods.yaml --out docs/curves.png
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.analysis import Interval, t_interval
from headwater.rows import read_rows

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "docs" / "results" / "methods.parquet"
PAGE = ROOT / "docs" / "pretraining.md"
OWN = {"caltech101": "caltech101", "grocery": "grocery-43", "ucm": "ucm"}
"""The task of each source's own images."""


def scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Top-1 in percent, one line per arm (source, method), task and seed, draws averaged; and
    whether labels are re-used there.
    """
    use = rows[(rows["metric"] == "top1") & (rows["subset"] == "all")].copy()
    if set(use["status"]) != {"done"}:
        raise SystemExit("some cells are not done")
    use["source"] = use["source"].fillna("none")
    grouped = use.groupby(["source", "method", "task", "seed"], observed=True)
    table = (100 * grouped["value"].mean().astype(float)).rename("top1").to_frame()
    table["reuse"] = grouped["label_reuse"].any()
    return table.reset_index()


def gain(
    table: pd.DataFrame, source: str, method: str, task: str, *, comparisons: int = 1
) -> tuple[Interval, bool]:
    """(the paired difference to no pre-training, points with the 95 % t-interval over seeds,
    corrected for `comparisons`; whether labels are re-used).
    """
    arm = table[
        (table["source"] == source) & (table["method"] == method) & (table["task"] == task)
    ].set_index("seed")
    bare = table[(table["method"] == "scratch") & (table["task"] == task)].set_index("seed")["top1"]
    return t_interval((arm["top1"] - bare).to_numpy(), comparisons=comparisons), bool(
        arm["reuse"].any()
    )


def text_of(interval: Interval, marked: bool) -> str:
    low, high = interval.low, interval.high
    assert low is not None and high is not None
    text = f"{interval.mean:+.1f} ({low:+.1f} to {high:+.1f})"
    return (f"**{text}**" if low > 0 or high < 0 else text) + ("†" if marked else "")


def block(rows: pd.DataFrame) -> str:
    table = scores(rows)
    tasks = sorted(table["task"].unique())
    arms = [
        (s, m)
        for s in OWN
        for m in ("supervised", "clip", "simclr")
        if len(table[(table["source"] == s) & (table["method"] == m)])
    ]
    lines = [
        "| source | method | " + " | ".join(tasks) + " | above |",
        "|---|---|" + "---:|" * (len(tasks) + 1),
    ]
    reused = {
        (source, method, task)
        for source, method in arms
        for task in tasks
        if gain(table, source, method, task)[1]
    }
    won: dict[tuple[str, str], list[str]] = {}
    for source, method in arms:
        cells = []
        for task in tasks:
            interval, marked = gain(table, source, method, task)
            cells.append(text_of(interval, marked))
            if interval.low is not None and interval.low > 0 and not marked:
                won.setdefault((source, method), []).append(task)
        asked = sum((source, method, task) not in reused for task in tasks)
        lines.append(
            f"| {source} | {method} | "
            + " | ".join(cells)
            + f" | {len(won.get((source, method), []))} of {asked} |"
        )
    bare = table[table["method"] == "scratch"].groupby("task")["top1"].mean()
    lines.append(
        "| | no pre-training, % | " + " | ".join(f"{bare[task]:.1f}" for task in tasks) + " | |"
    )
    seeds = table["seed"].nunique()
    compared = [
        (source, method, task)
        for source, method in arms
        for task in tasks
        if (source, method, task) not in reused
    ]
    corrected = [gain(table, *one, comparisons=len(compared))[0] for one in compared]
    survive = [
        f"{method} on {source}, {task}"
        for one, (source, method, task) in zip(corrected, compared, strict=True)
        if one.low is not None and one.low > 0
    ]
    results = []
    for source, method in arms:
        asked_tasks = [task for task in tasks if (source, method, task) not in reused]
        results.append((method, source, won.get((source, method), []), len(asked_tasks)))
    best = []
    for method in ("supervised", "clip", "simclr"):
        _, source, names, asked = max(
            (one for one in results if one[0] == method), key=lambda one: len(one[2])
        )
        best.append(f"{method} on {source}: {len(names)} of {asked} ({', '.join(names) or 'none'})")
    knn = (
        rows[rows["method"] != "scratch"]
        .groupby(["source", "method"], observed=True)["pretrain_knn"]
        .mean()
    )
    probes = ", ".join(
        f"{s} {m} {100 * knn[(s, m)]:.0f} %"
        for s, m in arms
        if np.isfinite(float(knn.get((s, m), np.nan)))
    )
    return "\n".join(
        [
            "Gain over no pre-training with 5 images per class (linear probe, 5 draws), points, "
            f"paired over {seeds} seeds, 95 % t-interval of each cell by",
            "itself; bold excludes 0; † the arm was trained on these images and on labels nested "
            "with the task's, which decides nothing and does not count.",
            "",
            *lines,
            "",
            "Tasks without label re-use on which a method's best source is above no pre-training: "
            f"{'; '.join(best)}.",
            "Sources were not chosen beforehand: a method's best is the best of three.",
            f"The table has {len(compared)} comparisons without †, {sum(map(len, won.values()))} "
            "of them told one by one; if nothing helped, about "
            f"{len(compared) * 0.025:.0f} would be by chance, and those of one column together, "
            "since",
            f"all are against the same {seeds} encoders. Corrected for all of them (Bonferroni), "
            f"{len(survive)} {'is' if len(survive) == 1 else 'are'} told "
            f"({'; '.join(survive) or 'none'}): with {seeds} seeds a",
            "cell's spread is itself a guess, and those that are told so are those with the "
            "smallest spread, not with the largest gain.",
            "",
            "Online probe at the end (20 nearest neighbours, held-out images of the source, finest "
            "labels):",
            f"{probes}.",
        ]
    )


def with_block(page: str, rows: pd.DataFrame) -> str:
    """The page with what stands between its marks made anew."""
    return re.sub(
        r"(<!-- methods -->\n).*?(\n<!-- /methods -->)",
        lambda m: m.group(1) + block(rows) + m.group(2),
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(with_block(PAGE.read_text(), read_rows(ROWS)))
